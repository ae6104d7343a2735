"""A run whose circumstances change: less memory, other passes, a new length, another holder."""

import json
import os
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_runs import final_state, resume, start, tiny_config, write_pyramid

from celebahq.errors import ToolError
from celebahq.files import read_jsonl
from celebahq.jobs.locks import owning
from trainer.cli import main
from trainer.configuration.config import ConfigError
from trainer.configuration.settings import load_config, override
from trainer.storage.checkpoint import states
from trainer.training.changes import change_run
from trainer.training.objectives import Objectives

SHORT = {"train": {"total_kimg": 0.16}}  # to the middle of 8x8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("steering") / "data.h5")


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


def test_a_run_has_one_holder(finished):
    before = final_state(finished)
    with owning(finished / "lock"), pytest.raises(ToolError, match="another run is at work here"):
        resume(finished)
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
