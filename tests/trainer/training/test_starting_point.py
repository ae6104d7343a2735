"""Runs that begin with trained networks."""

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import CPU, known_costs, resume, start, tiny_config, write_pyramid

from celebahq.errors import FormatError, ToolError
from celebahq.files import read_jsonl
from celebahq.processes import World
from trainer.storage.checkpoint import snapshots, states
from trainer.training.session import start_run
from trainer.training.starting_point import begin_with, load_trained
from trainer.training.state import new_state
from trainer.use.snapshot import load_snapshot


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("starting") / "data.h5")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """Grown to 8x8 of 16x16."""
    return start(tiny_config(train={"total_kimg": 0.16}), data, tmp_path_factory.mktemp("runs"))


def grown(**sections):
    return tiny_config(schedule={"initial_resolution": 8, **sections.pop("schedule", {})}, **sections)


def begun(run, data, outdir, config, monkeypatch):
    monkeypatch.setattr("trainer.training.session.step_costs", known_costs)
    return start_run(config, data, outdir, CPU, World(), init=run)


def test_the_pair_of_a_run_is_that_of_its_newest_state(run):
    pair = load_trained(run)
    weights = load_file(states(run)[-1])
    assert pair.resolution == 8
    for name in ("G", "D", "Gs"):
        assert pair.weights[name]
        for key, tensor in pair.weights[name].items():
            assert torch.equal(tensor, weights[f"{name}.{key}"])
    older = load_trained(states(run)[0])
    assert not torch.equal(older.weights["G"]["dense.weight"], pair.weights["G"]["dense.weight"])


def test_a_run_begins_with_the_networks_of_another_and_learns_on(run, data, tmp_path, monkeypatch):
    snapshot = {"image_ticks": 100, "network_ticks": 100, "keep_last": 10}
    config = grown(train={"total_kimg": 0.05, "seed": 1}, snapshot=snapshot)
    new = begun(run, data, tmp_path, config, monkeypatch)
    first, last = (load_file(states(new)[i]) for i in (0, -1))
    source = load_file(states(run)[-1])
    for name, tensor in first.items():
        if name.startswith(("G.", "D.", "Gs.")):
            assert torch.equal(tensor, source[name]), name
        elif name.startswith(("G_adam", "D_adam")):
            assert not tensor.any(), name
    assert not torch.equal(last["G.blocks.8.conv0.weight"], first["G.blocks.8.conv0.weight"])
    record = read_jsonl(new / "history.jsonl")[0]
    assert (record["event"], record["init"]) == ("begun", str(run))
    assert read_jsonl(new / "stats.jsonl")[0]["resolution"] == 8


def test_a_run_killed_before_its_first_state_begins_with_the_same_networks(run, data, tmp_path, monkeypatch):
    config = grown(train={"total_kimg": 0.05, "seed": 1})
    new = begun(run, data, tmp_path, config, monkeypatch)
    expected = states(new)[-1].read_bytes()
    shutil.rmtree(new / "states")
    (new / "stats.jsonl").unlink()
    resume(new)
    assert states(new)[-1].read_bytes() == expected


@pytest.mark.parametrize("resolution", [8, 32])
def test_networks_may_become_smaller_or_grow_further(run, resolution):
    sections = {
        name: {**part, "resolution": resolution}
        for name, part in (("generator", {"latent_size": 8, "fmap_base": 64, "fmap_max": 8}),
                           ("discriminator", {"fmap_base": 64, "fmap_max": 8}), ("schedule", {}))
    }  # fmt: skip
    config = tiny_config(**sections)
    state, untrained, pair = new_state(config, CPU), new_state(config, CPU), load_trained(run)
    begin_with(state, pair, config)
    found = state.D.state_dict()
    for name, tensor in untrained.D.state_dict().items():
        above = ".32." in name
        assert torch.equal(found[name], tensor if above else pair.weights["D"][name]), name


def test_networks_of_another_kind_are_refused_with_the_settings_that_fit(run):
    config = tiny_config(
        generator={"fmap_max": 4, "use_pixelnorm": False}, discriminator={"mbstd_group_size": 0}
    )
    with pytest.raises(ToolError) as error:
        begin_with(new_state(config, CPU), load_trained(run), config)
    text = str(error.value)
    for setting in (
        "generator.fmap_max=8",
        "generator.use_pixelnorm=true",
        "discriminator.mbstd_group_size=4",
    ):
        assert f"--set {setting}" in text


def test_a_snapshot_stands_for_its_state(run, tmp_path):
    last, first = snapshots(run)[-1], snapshots(run)[0]
    assert torch.equal(
        load_trained(last).weights["D"]["blocks.4.dense1.weight"],
        load_trained(run).weights["D"]["blocks.4.dense1.weight"],
    )
    assert load_trained(last).discriminator is not None
    assert load_trained(first).discriminator is None  # its state is not kept
    with pytest.raises(ToolError, match="holds no states"):
        load_trained(tmp_path)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(ToolError, match=r"x\.pkl"):
        load_trained(tmp_path / "x.pkl")
    (tmp_path / "x.bin").touch()
    with pytest.raises(ToolError, match="not a run folder, a state in one, a snapshot, or a network pickle"):
        load_trained(tmp_path / "x.bin")
    shutil.copy(states(run)[-1], tmp_path / "x.safetensors")
    with pytest.raises(FormatError, match="expected a trainer-snapshot file, found trainer-state"):
        load_trained(tmp_path / "x.safetensors")


def test_a_snapshot_alone_begins_a_run_with_an_untrained_discriminator(
    run, data, tmp_path, monkeypatch, caplog
):
    shared = shutil.copy(snapshots(run)[-1], tmp_path / "shared.safetensors")
    snapshot = {"image_ticks": 100, "network_ticks": 100, "keep_last": 10}
    D = {"mbstd_group_size": 0}  # of another kind than the one that G was trained with
    config = grown(train={"total_kimg": 0.05, "seed": 1}, discriminator=D, snapshot=snapshot)
    new = begun(shared, data, tmp_path / "runs", config, monkeypatch)
    assert f"{shared}: a snapshot, which holds no discriminator; D begins untrained" in caplog.text
    first, last = (load_file(states(new)[i]) for i in (0, -1))
    average, untrained = load_snapshot(shared).generator.state_dict(), new_state(config, CPU).D.state_dict()
    for name, tensor in first.items():
        part, _, layer = name.partition(".")
        if part in ("G", "Gs", "D"):
            assert torch.equal(tensor, untrained[layer] if part == "D" else average[layer]), name
    assert not torch.equal(last["G.blocks.8.conv0.weight"], first["G.blocks.8.conv0.weight"])
    narrow = grown(generator={"fmap_max": 4}, discriminator={"fmap_max": 4})
    with pytest.raises(ToolError, match=r"these settings fit: --set generator\.fmap_max=8$"):
        begin_with(new_state(narrow, CPU), load_trained(Path(shared)), narrow)
