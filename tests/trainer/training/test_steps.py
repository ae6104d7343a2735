"""Gradients do not depend on how a minibatch is divided among passes and processes."""

import copy
import functools

import numpy as np
import pytest
import torch
from tiny_runs import CPU, tiny_config, write_pyramid
from torch import Tensor

from celebahq.processes import World
from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import TrainingSchedule
from trainer.randomness import Stream, keyed_normal, keyed_uniform
from trainer.training.data import TrainingData
from trainer.training.losses import real_fade
from trainer.training.plan import plan_steps
from trainer.training.state import TrainingState, new_state
from trainer.training.steps import Steps

FADING_KIMG = 0.1  # lod 1.44: 8x8 fades in


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("steps") / "data.h5", labels=3)


def config_with(chunk: int, **sections: dict[str, object]) -> TrainingConfig:
    runtime = {"minibatch_gpu": {4: chunk, 8: chunk, 16: chunk}, **sections.pop("runtime", {})}
    return tiny_config(runtime=runtime, **sections)


def gradients(
    config: TrainingConfig,
    state: TrainingState,
    data_path,
    *,
    kimg: float = FADING_KIMG,
    world: World | None = None,
    device: torch.device = CPU,
) -> dict[str, Tensor]:
    """Gradients of one D step and one G step of one process, before they are summed over processes."""
    alone = world or World()
    with TrainingData(data_path, seed=0, mirror=True, use_labels=config.generator.label_size > 0) as reals:
        steps = Steps(config, copy.deepcopy(state), reals, device, alone)
        plan = steps.plan(TrainingSchedule(config.schedule).at(kimg))
        steps.world = World()  # what follows would sum over processes that are not there
        steps.discriminator_gradients(plan)
        steps.generator_gradients(plan)
        found = {f"D.{name}": g.clone() for name, g in steps.state.D_adam.gradients().items()}
        return found | {f"G.{name}": g.clone() for name, g in steps.state.G_adam.gradients().items()}


def scaled(config: TrainingConfig, seed: int = 3, device: torch.device = CPU) -> TrainingState:
    """Networks whose biases are not zero, so that every gradient counts."""
    state = new_state(config, device)
    generator = torch.Generator().manual_seed(seed)
    for network in (state.G, state.D):
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator).to(device)
    return state


LABELS = {"generator": {"label_size": 3}, "discriminator": {"label_size": 3}}


@pytest.mark.parametrize(
    "sections", [{}, LABELS, {"train": {"joint_step": True}}], ids=["plain", "labels", "joint"]
)
def test_two_passes_give_the_gradients_of_one(data, sections):
    whole, divided = config_with(8, **sections), config_with(4, **sections)
    state = scaled(whole)
    expected, found = gradients(whole, state, data), gradients(divided, state, data)
    assert found.keys() == expected.keys()
    assert any(name.startswith("D.blocks.8") for name in found)
    for name in expected:
        torch.testing.assert_close(
            found[name], expected[name], rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("loss", [{"kind": "lsgan"}, {"kind": "wgan-gp"}])
def test_two_passes_and_four_see_the_same_noise(data, loss):
    sections = {"schedule": {"minibatch": 16}, "loss": {**loss, "gdrop_coefficient": 0.2}}
    two, four = config_with(8, **sections), config_with(4, **sections)
    state = scaled(two)
    silent = gradients(two, state, data)
    state.gdrop_strength = 0.1
    expected, found = gradients(two, state, data), gradients(four, state, data)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6)
    loud = [name for name in expected if not torch.allclose(expected[name], silent[name], rtol=1e-2)]
    assert "D.blocks.8.conv0.weight" in loud
    assert "G.dense.weight" in loud


def test_the_penalty_sees_the_noise_as_well(data):
    config = config_with(8)
    state = scaled(config)
    steps_of = {}
    for strength in (0.0, 0.1):
        with TrainingData(data, seed=0, mirror=True, use_labels=False) as reals:
            state.gdrop_strength = strength
            steps = Steps(config, state, reals, CPU, World())
            plan = steps.plan(TrainingSchedule(config.schedule).at(FADING_KIMG))
            steps_of[strength] = steps.discriminator_gradients(plan)["penalty"]
    assert not torch.allclose(steps_of[0.1], steps_of[0.0], rtol=1e-3)


def test_the_memory_layout_changes_no_gradient(data):
    config, channels_last = config_with(8), config_with(8, runtime={"channels_last": True})
    expected = gradients(config, scaled(config), data)
    found = gradients(channels_last, scaled(channels_last), data)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6)


def test_the_shares_of_two_processes_add_up_to_the_gradients_of_one(data):
    config = config_with(4)
    state = scaled(config)
    expected = gradients(config, state, data)
    shares = [gradients(config, state, data, world=World(rank, 2)) for rank in (0, 1)]
    for name in expected:
        torch.testing.assert_close(shares[0][name] + shares[1][name], expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kimg", [0.0, FADING_KIMG, 0.3])
def test_gradients_are_those_of_the_losses_written_out(data, kimg):
    config = config_with(8)
    state = scaled(config)
    found = gradients(config, state, data, kimg=kimg)

    lod = TrainingSchedule(config.schedule).at(kimg).lod
    with TrainingData(data, seed=0, mirror=True, use_labels=False) as reals:
        plan = plan_steps(config, TrainingSchedule(config.schedule).at(kimg), World(), CPU)
        real = real_fade(reals.next(0, plan)[0] / 127.5 - 1, lod)
    fake = state.G(torch.from_numpy(keyed_normal(0, Stream.D_LATENTS, np.arange(8), 8)), lod=lod).detach()
    u = torch.from_numpy(keyed_uniform(0, Stream.MIX_FACTORS, np.arange(8))).float()[:, :, None, None]
    mixed = (real + (fake - real) * u).requires_grad_()
    slopes = torch.autograd.grad(state.D(mixed, lod)[0].sum(), mixed, create_graph=True)[0]
    norms = slopes.square().sum(dim=(1, 2, 3)).sqrt() / 2 ** int(lod)
    scores = state.D(real, lod)[0]
    loss = state.D(fake, lod)[0].mean() - scores.mean() + 1e-3 * scores.square().mean()
    (loss + 10 * (norms - 1).square().mean()).backward()
    for name, parameter in state.D.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[f"D.{name}"], parameter.grad, rtol=1e-3, atol=1e-5)

    latents = torch.from_numpy(keyed_normal(0, Stream.G_LATENTS, np.arange(8), 8))
    (-state.D(state.G(latents, lod=lod), lod)[0].mean()).backward()
    for name, parameter in state.G.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[f"G.{name}"], parameter.grad, rtol=1e-3, atol=1e-5)


def test_nothing_above_the_current_resolution_gets_a_gradient(data):
    config = config_with(8)
    found = gradients(config, scaled(config), data, kimg=0.0)
    assert not [name for name in found if ".16." in name or ".8." in name]
    assert any(".4." in name for name in found)


@pytest.mark.parametrize("kimg", [0.0, FADING_KIMG, 0.3])
def test_bfloat16_gradients_point_the_same_way(data, kimg):
    config = config_with(8)
    state = scaled(config)
    exact = gradients(config, state, data, kimg=kimg)
    rounded = gradients(config_with(8, runtime={"precision": "bf16"}), state, data, kimg=kimg)
    for network in ("D", "G"):
        a = torch.cat([g.flatten() for name, g in exact.items() if name.startswith(network)])
        b = torch.cat([g.flatten() for name, g in rounded.items() if name.startswith(network)])
        # 8 bits of mantissa; and with 8 feature maps little rounding averages out.
        assert torch.cosine_similarity(a, b, dim=0) > 0.93
        assert b.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's compiler uses its own old parts
def test_compiled_objectives_have_the_same_gradients(data, monkeypatch):
    # Second derivatives are lost, if at all, where the backward graph is traced; generating machine code
    # from it would take minutes here.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    config, compiled = config_with(8), config_with(8, runtime={"compile": True})
    state = scaled(config)
    expected = gradients(config, state, data)
    found = gradients(compiled, state, data)
    assert found.keys() == expected.keys()  # a lost second derivative shows as a missing gradient
    for name in expected:
        torch.testing.assert_close(
            found[name], expected[name], rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )
