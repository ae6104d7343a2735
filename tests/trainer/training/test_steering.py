"""A run whose circumstances change: less memory, other passes, a new length, another holder."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_runs import CPU, final_state, resume, start, tiny_config, write_pyramid

from celebahq.errors import FormatError, ToolError
from celebahq.files import read_jsonl
from celebahq.jobs.locks import owning
from trainer.cli import main
from trainer.configuration.config import ConfigError
from trainer.configuration.schedule import TrainingSchedule
from trainer.configuration.settings import load_config, override
from trainer.storage.checkpoint import states
from trainer.training.changes import change_run
from trainer.training.objectives import Objectives
from trainer.training.state import grown, load_state, new_state, tensor_parts
from trainer.use.run_page import PAGE
from trainer.use.snapshot import load_snapshot

SHORT = {"train": {"total_kimg": 0.16}}  # to the middle of 8x8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("steering") / "data.h5", resolution=32)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """To the end at 16x16."""
    return start(tiny_config(), data, tmp_path_factory.mktemp("finished"))


def weights(run):
    return {name: t for name, t in load_file(states(run)[-1]).items() if name.startswith(("G.", "D.", "Gs."))}


def assert_equal_but_for_rounding(run, other):
    expected = weights(other)
    for name, tensor in weights(run).items():
        # 40 steps of Adam, which moves every weight by 0.001 whatever the gradient's size, so that rounding
        # can turn around a step of a weight with almost no gradient.
        assert (tensor - expected[name]).abs().max() < 0.01, name
        torch.testing.assert_close(tensor, expected[name], rtol=0.02, atol=0.01)


def test_a_finished_run_is_lengthened_to_the_next_resolution(finished, data, tmp_path):
    run = start(tiny_config(**SHORT), data, tmp_path)
    resume(run, "train.total_kimg=0.32")
    found, expected = (load_file(states(folder)[-1]) for folder in (run, finished))
    assert all(torch.equal(found[name], expected[name]) for name in expected)  # only its ticks are others
    config = load_config(run / "config.json")
    assert config.train.total_kimg == 0.32
    assert config.runtime.minibatch_gpu == {4: 8, 8: 8, 16: 8}
    begun, resumed = read_jsonl(run / "history.jsonl")
    assert (begun["event"], begun["kimg"], begun["processes"]) == ("begun", 0.0, 1)
    assert (resumed["event"], resumed["kimg"]) == ("resumed", 0.16)
    assert resumed["changes"] == {
        "train.total_kimg": [0.16, 0.32], "runtime.minibatch_gpu.16": [None, 8]
    }  # fmt: skip


def test_a_finished_run_grows_to_a_higher_resolution(finished, tmp_path):
    before = load_file(states(finished)[-1])
    at_once, in_parts = (shutil.copytree(finished, tmp_path / name) for name in ("at once", "in parts"))
    (at_once / "reals.swd.safetensors").touch()  # of the lower resolution
    reals = (at_once / "reals.png").read_bytes()
    resume(at_once, "resolution=32", "train.total_kimg=0.4")
    resume(in_parts, "resolution=32", "train.total_kimg=0.344")
    resume(in_parts, "train.total_kimg=0.4")
    whole, parts = (load_file(states(run)[-1]) for run in (at_once, in_parts))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert not (at_once / "reals.swd.safetensors").exists()
    assert (at_once / "reals.png").read_bytes() != reals

    added = {name for name in whole if name not in before}
    assert {part for part in ("G.", "D.", "Gs.", "G_adam.", "D_adam.")} == {
        f"{name.partition('.')[0]}." for name in added
    }
    assert all(".32." in name for name in added)
    assert all(whole[name].shape == before[name].shape for name in before)
    records = read_jsonl(at_once / "stats.jsonl")
    assert [record["resolution"] for record in records][-2:] == [32, 32]
    assert load_snapshot(at_once).resolution == 32
    changes = read_jsonl(in_parts / "history.jsonl")[1]["changes"]
    assert changes["generator.resolution"] == changes["discriminator.resolution"] == [16, 32]
    assert changes["schedule.resolution"] == [16, 32]


def test_what_a_run_has_learned_is_kept_bit_for_bit_and_new_layers_are_as_in_a_new_run(finished):
    path, config = states(finished)[-1], override(tiny_config(), ["resolution=32"])
    before, untrained = load_file(path), tensor_parts(new_state(config, CPU))
    state = load_state(path, config, CPU)  # as after a kill before the first state of higher resolution
    again = grown(load_state(path, tiny_config(), CPU), config, CPU)
    assert (state.nimg, state.tick, state.tick_nimg) == (320, again.tick, again.tick_nimg)
    for part, tensors in tensor_parts(state).items():
        for name, tensor in tensors.items():
            old = before.get(f"{part}.{name}", untrained[part][name])
            assert torch.equal(tensor, old), name
            assert torch.equal(tensor_parts(again)[part][name], old), name
    lower = override(tiny_config(), ["resolution=8"])
    with pytest.raises(FormatError, match="not a state of networks as this run's configuration makes them"):
        load_state(path, lower, CPU)


@pytest.mark.parametrize(
    ("nimg", "kimg"),
    [(160, None), (272, None), (320, None), (321, 0.065), (500, 0.244)],  # 16x16 is stable from 256 to 320
)
def test_the_next_fade_begins_now_if_it_would_have_begun_before(nimg, kimg):
    config = tiny_config(train={"total_kimg": 2.0})
    changed = change_run(config, ["resolution=32"], nimg)
    assert changed.schedule.train_kimg_by_resolution.get(16) == kimg
    schedule = TrainingSchedule(changed.schedule)
    start = max(nimg / 1000, 0.32)
    assert schedule.at(start - 1e-3).lod >= 1
    assert schedule.at(start + 0.032).lod == pytest.approx(0.5, abs=0.02)
    again = change_run(changed, ["resolution=64"], nimg + 20)
    assert again.schedule.train_kimg_by_resolution == changed.schedule.train_kimg_by_resolution


def test_the_stage_before_a_new_resolution_can_be_given(finished):
    config = tiny_config(train={"total_kimg": 2.0})
    sets = ["resolution=32", "schedule.train_kimg_by_resolution.16=1"]
    assert change_run(config, sets, nimg=500) == override(config, sets)
    with pytest.raises(ConfigError, match="which the run has behind it"):
        change_run(config, [sets[0], "schedule.train_kimg_by_resolution.16=0.1"], nimg=500)


def test_data_of_a_lower_resolution_end_a_run_before_it_changes(finished):
    before = (finished / "config.json").read_bytes()
    with pytest.raises(ToolError, match=r"data\.h5: resolution 32, but tiny has 64"):
        resume(finished, "resolution=64", "train.total_kimg=0.4")
    assert (finished / "config.json").read_bytes() == before


def test_passes_can_be_made_smaller_on_resume(finished, data, tmp_path):
    run = start(tiny_config(**SHORT), data, tmp_path)
    resume(run, "train.total_kimg=0.32", minibatch_gpu=4)
    assert load_config(run / "config.json").runtime.minibatch_gpu == {4: 4, 8: 4, 16: 4}
    assert_equal_but_for_rounding(run, finished)


def run_out_of_memory(monkeypatch, name, most, error):
    """Objectives that fail on more than `most` images at once."""
    original = getattr(Objectives, name)

    def objective(self, first, *arguments):
        if len(first) > most:
            raise error
        return original(self, first, *arguments)

    monkeypatch.setattr(Objectives, name, objective)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("discriminator_loss", torch.OutOfMemoryError("CUDA out of memory")),
        ("generator_loss", RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")),
    ],
)
def test_out_of_memory_halves_the_passes(finished, data, tmp_path, monkeypatch, name, error):
    run_out_of_memory(monkeypatch, name, 4, error)
    run = start(tiny_config(), data, tmp_path)
    assert load_config(run / "config.json").runtime.minibatch_gpu == {4: 4, 8: 4, 16: 4}
    events = [record for record in read_jsonl(run / "history.jsonl") if record["event"] == "out of memory"]
    assert [record["changes"] for record in events] == [
        {f"runtime.minibatch_gpu.{resolution}": [8, 4]} for resolution in (4, 8, 16)
    ]
    assert_equal_but_for_rounding(run, finished)


def test_out_of_memory_with_the_smallest_passes_ends_the_run(data, tmp_path, monkeypatch):
    run_out_of_memory(monkeypatch, "penalty", 3, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(ToolError, match="a pass at 4x4: out of memory with 4 images, the fewest"):
        start(tiny_config(**SHORT), data, tmp_path)


def test_another_error_is_not_taken_for_a_lack_of_memory(data, tmp_path, monkeypatch):
    run_out_of_memory(monkeypatch, "penalty", 3, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        start(tiny_config(**SHORT), data, tmp_path)


@pytest.mark.parametrize(
    "assignment",
    [
        "train.total_kimg=1",
        "train.on_nan=skip",
        "schedule.learning_rate=0.002",
        "schedule.learning_rate_by_resolution.16=0.002",
        "schedule.tick_kimg=0.01",
        "schedule.minibatch_by_resolution.16=16",  # still to come
        "snapshot.image_ticks=3",
        "runtime.precision=bf16",
        "resolution=32",
        "schedule.train_kimg_by_resolution.8=0.1",
    ],
)
def test_what_is_still_to_come_may_change(assignment):
    config = tiny_config()
    assert change_run(config, [assignment], nimg=160) == override(config, [assignment])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.seed=1", "train.seed = 1: the run was begun with 0"),
        ("data.mirror=false", "data.mirror = False: the run was begun with True"),
        ("loss.gp_weight=1", "loss.gp_weight = 1.0: the run was begun with 10.0"),
        ("train.ema_beta=0.9", "train.ema_beta"),
        ("generator.fmap_max=16", "generator.fmap_max"),
        ("resolution=8", "generator.resolution = 8"),
        ("schedule.minibatch=16", "at 0.0 kimg, which the run has behind it"),
        ("schedule.minibatch_by_resolution.8=16", "with minibatch 8 would have been lod 2.00 with 16"),
        ("schedule.train_kimg=0.032", "would have been lod"),
        ("train.total_kimg=0.1", "train.total_kimg = 0.1: the run is at 0.16"),
        ("train.totl_kimg=1", "did you mean train.total_kimg?"),
        ("schedule.learning_rate=-1", "must be above 0"),
    ],
)
def test_what_would_change_the_past_is_refused(assignment, message):
    with pytest.raises(ConfigError) as error:
        change_run(tiny_config(), [assignment], nimg=160)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({}, "resolution = 32: the run is at 0.32 kimg and ends at 0.32; set train.total_kimg as well"),
        (
            {"architecture": "mnist-1k", "train": {"total_kimg": 1.0}},
            "resolution = 32: D's first layer is that of the final resolution; start another run",
        ),
    ],
)
def test_a_resolution_that_cannot_be_reached_is_refused(sections, message):
    architecture = sections.get("architecture", "paper")
    config = dataclasses.replace(tiny_config(train=sections.get("train", {})), architecture=architecture)
    with pytest.raises(ConfigError, match=re.escape(message)):
        change_run(config, ["resolution=32"], nimg=320)


def test_a_run_has_one_holder(finished):
    before = final_state(finished)
    (finished / PAGE).write_text("the other's page")
    with owning(finished / "lock"), pytest.raises(ToolError, match="another run is at work here"):
        resume(finished)
    assert (finished / PAGE).read_text() == "the other's page"
    assert final_state(finished) == before


def call(*arguments, status=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.stderr


SETS = ["resolution=8", "train.total_kimg=0.05", "schedule.minibatch=8", "schedule.train_kimg=1"]
SETS += ["generator.fmap_max=8", "discriminator.fmap_max=8", "schedule.tick_kimg=0.02"]
SMOKE = ["--preset", "smoke", "--device", "cpu", *(part for value in SETS for part in ("--set", value))]


def test_the_same_command_begins_a_run_continues_it_and_leaves_it_when_it_is_finished(data, tmp_path):
    command = ["run", "--data", data, "--outdir", tmp_path, *SMOKE, "--resume"]
    call(*command)
    run = tmp_path / "00000-smoke"
    finished = final_state(run)
    assert "finished at 0.1 kimg" in call(*command)
    assert [path.name for path in tmp_path.iterdir()] == ["00000-smoke"]
    for state in states(run)[1:]:
        state.unlink()  # as if it had been killed early
    assert "continues at 0.0 of 0.05 kimg" in call(*command)
    assert final_state(run) == finished
    message = call(*command, "--set", "train.total_kimg=0.1", status=1)
    assert "has train.total_kimg = 0.05, not 0.1; `trainer resume" in message
    call(*command[:-1], "--dry-run")
    call(*command, "--set", "name=other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000-smoke", "00001-other"]


def test_changes_on_the_command_line(finished, data):
    before = (finished / "config.json").read_bytes()
    message = call("resume", finished, "--device", "cpu", "--set", "train.seed=1", status=2)
    assert "train.seed = 1: the run was begun with 0" in message
    assert (finished / "config.json").read_bytes() == before
    assert len(read_jsonl(finished / "history.jsonl")) == 1


def test_a_minibatch_that_cannot_be_shared_fails_in_the_dry_run():
    message = call("run", *SMOKE, "--set", "schedule.minibatch=6", "--dry-run", status=1)
    assert "a minibatch of 6: cannot be shared by 1 processes (it is made of groups of 4)" in message


def text(folder):
    (folder / "text.h5").write_text("hi")
    return ["--data", folder / "text.h5"]


def small(folder):
    return ["--data", write_pyramid(folder / "small.h5", resolution=4)]


def labelled(folder):
    return ["--data", write_pyramid(folder / "data.h5"), "--set", "label_size=3"]


def other_networks(folder):
    return [
        "--data",
        write_pyramid(folder / "data.h5"),
        "--init",
        begun(folder),
        "--set",
        "generator.latent_size=4",
    ]


def another_seed(folder):
    return ["--data", begun(folder).parent.parent / "first.h5", "--resume", "--seed", 4]


def other_images(folder):
    begun(folder)
    return ["--data", write_pyramid(folder / "other.h5", count=20), "--resume"]


def begun(folder):
    call("run", "--data", write_pyramid(folder / "first.h5"), "--outdir", folder / "runs", *SMOKE)
    return folder / "runs" / "00000-smoke"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (text, "text.h5"),
        (small, "resolution 4, but smoke has 8"),
        (labelled, "label_size 0, but smoke has 3"),
        (other_networks, "networks of another kind"),
        (another_seed, "has train.seed = 0, not 4"),
        (other_images, "not the data of"),
    ],
)
def test_a_dry_run_fails_where_the_run_would_at_once(given, message, tmp_path):
    command = ["run", *SMOKE, "--outdir", tmp_path / "runs", *given(tmp_path)]
    before = sorted(tmp_path.rglob("*"))
    said = call(*command, "-n", status=1)
    assert message in said.splitlines()[-1]
    assert call(*command, status=1).splitlines()[-1] == said.splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_sees_that_another_run_is_at_work(tmp_path):
    command = ["run", *SMOKE, "--outdir", tmp_path / "runs", "--resume", "--data"]
    with owning(begun(tmp_path) / "lock"):
        assert "another run is at work here" in call(*command, tmp_path / "first.h5", "-n", status=1)


def test_a_dry_run_on_data_that_fit_writes_nothing(data, tmp_path):
    result = CliRunner().invoke(
        main, [str(part) for part in ("run", *SMOKE, "--data", data, "--outdir", tmp_path / "runs", "-n")]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["schedule"]["resolution"] == 8
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("heeded_hangup")
@pytest.mark.parametrize(("name", "status"), [("TERM", 143), ("HUP", 129), ("USR1", 138), ("INT", 130)])
def test_signals_end_with_their_own_status(data, tmp_path, monkeypatch, name, status):
    import signal

    from trainer.training.steps import Steps

    original = Steps.generator_gradients

    def gradients(self, plan):
        os.kill(os.getpid(), signal.Signals[f"SIG{name}"])
        return original(self, plan)

    monkeypatch.setattr(Steps, "generator_gradients", gradients)
    message = call("run", "--data", data, "--outdir", tmp_path, *SMOKE, status=status)
    assert "interrupted: the state at 0.0 kimg is saved; `trainer resume RUN` continues" in message


@pytest.mark.slow
def test_a_run_moves_to_two_processes_and_back(finished, data, tmp_path):
    run = start(tiny_config(**SHORT), data, tmp_path)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = ["-m", "trainer", "resume", run, "--device", "cpu", "--set", "train.total_kimg=0.24"]
    result = subprocess.run(
        [*launcher, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stderr.count("continues at 0.2 of 0.24 kimg") == 1  # one of them speaks
    assert json.loads((run / "config.json").read_text())["runtime"]["minibatch_gpu"]["16"] == 4
    resume(run, "train.total_kimg=0.32")
    assert [record["processes"] for record in read_jsonl(run / "history.jsonl")] == [1, 2, 1]
    assert_equal_but_for_rounding(run, finished)
