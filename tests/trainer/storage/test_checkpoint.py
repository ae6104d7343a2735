"""Files of a run: complete or not there, checked when read, pruned by rule."""

import copy
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from celebahq.errors import FormatError, ToolError
from trainer.storage.checkpoint import (
    STATE_FORMAT,
    prune_states,
    read_tensors,
    state_path,
    states,
    write_tensors,
)


def write_states(run, ticks) -> None:
    for tick in ticks:
        write_tensors(state_path(run, tick * 1000), STATE_FORMAT, {"G": {"w": torch.ones(1)}}, {"tick": tick})


def test_what_is_written_is_read_back(tmp_path):
    weights = {"a.b": torch.arange(6.0).reshape(2, 3), "t": torch.tensor(5)}
    facts = {"nimg": 3, "average": 0.1, "nested": {"x": [1, 2]}}
    write_tensors(
        tmp_path / "f.safetensors", STATE_FORMAT, {"G": weights, "D": copy.deepcopy(weights)}, facts
    )
    found = read_tensors(tmp_path / "f.safetensors", STATE_FORMAT)
    assert found.facts == facts
    assert found.part("D").keys() == weights.keys()
    assert all(torch.equal(found.part("G")[name], weights[name]) for name in weights)


def test_equal_states_are_equal_bytes(tmp_path):
    parts = {"G": {f"w{i}": torch.full((i,), float(i)) for i in range(1, 20)}}
    for name in ("a", "b"):
        write_tensors(tmp_path / name, STATE_FORMAT, parts, {"nimg": 1, "tick": 2, "lod": 0.5})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "trainer.storage.checkpoint.save", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        write_states(tmp_path, [1])
    assert not list((tmp_path / "states").iterdir())


def test_foreign_files_are_named_and_refused(tmp_path):
    save_file({"w": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(
        FormatError, match=r"other\.safetensors: expected a trainer-state file, found no format"
    ):
        read_tensors(tmp_path / "other.safetensors", STATE_FORMAT)
    np.save(tmp_path / "array.npy", np.ones(3))
    with pytest.raises(FormatError, match=r"array\.npy: not a readable safetensors file"):
        read_tensors(tmp_path / "array.npy", STATE_FORMAT)
    with pytest.raises(ToolError, match="no such file"):
        read_tensors(tmp_path / "none", STATE_FORMAT)


def test_the_newest_and_every_kth_state_are_kept(tmp_path):
    write_states(tmp_path, range(1, 12))
    prune_states(tmp_path, keep_last=2, keep_every_ticks=4)
    assert [int(path.stem[-11:]) // 1000 for path in states(tmp_path)] == [4, 8, 10, 11]
    prune_states(tmp_path, keep_last=1, keep_every_ticks=0)
    assert states(tmp_path) == [state_path(tmp_path, 11_000)]


def test_half_written_states_are_not_found(tmp_path):
    write_states(tmp_path, [1])
    (tmp_path / "states" / (state_path(tmp_path, 2000).name + ".partial")).write_bytes(b"half")
    assert states(tmp_path) == [state_path(tmp_path, 1000)]


def test_no_flipped_bit_is_read(tmp_path):
    path = tmp_path / "f.safetensors"
    parts = {"G": {"w": torch.randn(30), "n": torch.tensor(3), "h": torch.randn(3).bfloat16()}}
    write_tensors(path, STATE_FORMAT, parts, {"nimg": 1, "table": {64: 1, 8: 2}}, run="a")
    whole, written = path.read_bytes(), read_tensors(path, STATE_FORMAT)
    assert written.facts == {"nimg": 1, "table": {"64": 1, "8": 2}}
    rng = np.random.default_rng(0)
    for bit in rng.choice(8 * len(whole), 400, replace=False):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(FormatError, match=r"f\.safetensors: [^\n]*$"):
            read_tensors(path, STATE_FORMAT)


def test_a_file_of_another_run_is_refused(tmp_path):
    path = tmp_path / "f.safetensors"
    write_tensors(path, STATE_FORMAT, {"G": {"w": torch.ones(1)}}, {}, run="one")
    assert read_tensors(path, STATE_FORMAT, run="one").run == "one"
    assert read_tensors(path, STATE_FORMAT).run == "one"
    with pytest.raises(FormatError, match=r"f\.safetensors: of another run \(one, not two\)"):
        read_tensors(path, STATE_FORMAT, run="two")


def test_files_of_version_1_are_read(tmp_path):
    header = {"format": STATE_FORMAT, "format_version": 1, "facts": {"nimg": 3}}
    save_file({"G.w": torch.ones(2)}, tmp_path / "f", metadata={"trainer": json.dumps(header)})
    found = read_tensors(tmp_path / "f", STATE_FORMAT, run="any")
    assert (found.facts, found.run, found.part("G")["w"].tolist()) == ({"nimg": 3}, None, [1, 1])


@pytest.mark.parametrize(
    "header",
    [
        "[" * 100_000,
        "[]",
        "{",
        '{"format": "trainer-state"}',
        '{"format": "trainer-state", "format_version": "x", "facts": {}}',
        '{"format": "trainer-state", "format_version": 3, "facts": {}}',
        '{"format": "trainer-state", "format_version": 2, "facts": []}',
    ],
    ids=range(7),
)
def test_damaged_headers_are_one_line(tmp_path, header):
    save_file({"w": torch.ones(1)}, tmp_path / "f", metadata={"trainer": header})
    with pytest.raises(FormatError, match="f: "):
        read_tensors(tmp_path / "f", STATE_FORMAT)
