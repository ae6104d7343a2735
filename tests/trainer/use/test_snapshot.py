"""Snapshot files: read back as saved, and refused in one line where they are damaged."""

import pytest
import torch
from tiny_runs import tiny_config

from celebahq.errors import FormatError
from trainer.networks.models import build_generator
from trainer.storage.checkpoint import SNAPSHOT_FORMAT, read_tensors, write_tensors
from trainer.use.snapshot import Snapshot, load_snapshot, save_snapshot


@pytest.fixture
def saved(tmp_path):
    config = tiny_config()
    snapshot = Snapshot(build_generator(config), config, nimg=5000, lod=1.5, label_rows=None)
    save_snapshot(tmp_path / "a.safetensors", snapshot)
    return snapshot, tmp_path / "a.safetensors"


def test_a_snapshot_is_read_back(saved):
    snapshot, path = saved
    found = load_snapshot(path)
    assert (found.config, found.nimg, found.lod) == (snapshot.config, 5000, 1.5)
    torch.testing.assert_close(found.generate(0, [1]), snapshot.generate(0, [1]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda facts, _: facts.pop("config"), "not the facts of a snapshot"),
        (lambda facts, _: facts.pop("nimg"), "not the facts of a snapshot"),
        (lambda facts, _: facts.update(config=[]), "not the facts of a snapshot"),
        (lambda facts, _: facts.update(config={"surprise": 1}), "not the facts of a snapshot"),
        (lambda facts, _: facts.update(lod="x"), "not the facts of a snapshot"),
        (lambda facts, _: facts.update(lod=99.0), "level of detail 99"),
        (lambda facts, _: facts.update(lod=float("nan")), "level of detail nan"),
        (
            lambda facts, _: facts["config"]["generator"].update(fmap_max=10**7, fmap_base=10**9),
            "not those of its configuration",
        ),
        (lambda _, weights: weights.pop(next(iter(weights))), "not those of its configuration"),
        (lambda _, weights: weights.update(more=torch.ones(1)), "not those of its configuration"),
        (lambda _, weights: weights.update({name: torch.ones(1) for name in weights}), "not those of its"),
    ],
    ids=range(11),
)
def test_damaged_snapshots_are_one_line(saved, edit, message):
    _, path = saved
    content = read_tensors(path, SNAPSHOT_FORMAT)
    weights = content.part("Gs")
    edit(content.facts, weights)
    write_tensors(path, SNAPSHOT_FORMAT, {"Gs": weights}, content.facts)
    with pytest.raises(FormatError, match=rf"a\.safetensors: damaged: .*{message}"):
        load_snapshot(path)
