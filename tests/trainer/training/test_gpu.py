"""Training on a GPU against training on a CPU."""

import pytest
import torch
from test_steps import config_with, gradients, scaled
from tiny_runs import final_state, tiny_config, write_pyramid

from celebahq.processes import World
from trainer.training.session import resume_run, start_run

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("gpu") / "data.h5")


@pytest.mark.parametrize(
    ("runtime", "least"),
    # Cosine of all gradients: fp32 adds up in another order; TF32 and bf16 have 10 and 7 bits of mantissa.
    [
        ({}, 0.99999),
        ({"tf32": True}, 0.999),
        ({"precision": "bf16"}, 0.93),
        ({"channels_last": True}, 0.99999),
    ],
    ids=["fp32", "tf32", "bf16", "channels_last"],
)
def test_gradients_are_those_of_the_cpu(runtime, least, data):
    config = config_with(8, runtime=runtime)
    expected = gradients(config_with(8), scaled(config_with(8)), data)
    found = gradients(config, scaled(config, device=CUDA), data, device=CUDA)
    assert found.keys() == expected.keys()
    a, b = (torch.cat([g.flatten().cpu().double() for g in each.values()]) for each in (expected, found))
    assert torch.cosine_similarity(a, b, dim=0) > least


def test_a_resumed_run_ends_in_the_same_bits(data, tmp_path):
    config = tiny_config(runtime={"deterministic": True}, train={"total_kimg": 0.16})
    half = tiny_config(runtime={"deterministic": True}, train={"total_kimg": 0.096})
    whole = start_run(config, data, tmp_path / "whole", CUDA, World())
    parts = start_run(half, data, tmp_path / "parts", CUDA, World())
    resume_run(parts, CUDA, World(), changes=["train.total_kimg=0.16"])
    assert final_state(parts) == final_state(whole)
