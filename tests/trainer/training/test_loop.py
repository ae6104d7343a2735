"""The loop as a whole: interrupts, non-finite losses, what a run leaves behind."""

import json
import math
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from tiny_runs import TINY, final_state, resume, start, tiny_config, write_pyramid

from celebahq.errors import ToolError
from celebahq.files import read_jsonl
from celebahq.processes import World
from celebahq.pyramid import PyramidWriter
from trainer.storage.checkpoint import STATE_FORMAT, read_tensors, snapshots, states
from trainer.training.interrupt import Interrupt, Interrupted
from trainer.training.loop import NonFiniteError
from trainer.training.maintenance import Maintenance
from trainer.training.session import resume_run
from trainer.training.steps import Steps

SHORT = {"train": {"total_kimg": 0.16}}  # to the middle of 8x8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("loop") / "data.h5")


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    return start(tiny_config(**SHORT), data, tmp_path_factory.mktemp("finished"))


def at_step(monkeypatch, number: int, action) -> None:
    """Call `action(steps)` before D's update number `number` (from 1) is applied."""
    original = Steps.discriminator_gradients
    done = 0

    def gradients(self, plan):
        nonlocal done
        means = original(self, plan)
        done += 1
        if done == number:
            action(self)
        return means

    monkeypatch.setattr(Steps, "discriminator_gradients", gradients)


def poison(steps: Steps) -> None:
    next(iter(steps.state.D_adam.gradients().values())).view(-1)[0] = torch.nan


def test_a_run_leaves_figures_images_and_weights(finished):
    assert {path.name for path in finished.iterdir()} >= {
        "config.json",
        "data.json",
        "stats.jsonl",
        "reals.png",
    }
    assert list(finished.glob("events.out.tfevents.*"))
    assert [path.name for path in sorted(finished.glob("fakes*.png"))] == [
        "fakes000000.png",
        "fakes000000_160.png",
    ]
    assert [path.name for path in snapshots(finished)] == [
        "snapshot-00000000000.safetensors",
        "snapshot-00000000160.safetensors",
    ]
    records = read_jsonl(finished / "stats.jsonl")
    assert [record["nimg"] for record in records] == [48, 96, 144, 160]
    assert [record["resolution"] for record in records] == [4, 8, 8, 8]
    assert {"loss_D", "loss_G", "penalty", "sec_per_kimg", "left_sec", "memory_gb"} <= records[0].keys()
    assert records[-1]["left_sec"] == 0


def test_the_chosen_passes_are_stored_in_the_run(finished):
    config = json.loads((finished / "config.json").read_text())
    assert config["runtime"]["minibatch_gpu"] == {"4": 8, "8": 8}


def test_only_the_newest_states_are_kept(finished, data, tmp_path):
    assert [path.name for path in states(finished)] == [
        "state-00000000144.safetensors",
        "state-00000000160.safetensors",
    ]
    snapshot = {"image_ticks": 100, "network_ticks": 100, "keep_last": 1, "keep_every": 2}
    run = start(tiny_config(**SHORT, snapshot=snapshot), data, tmp_path)
    assert [int(path.stem[-6:]) for path in states(run)] == [0, 96, 160]


@pytest.mark.usefixtures("heeded_hangup")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_saves_the_state_and_the_run_ends_in_the_same_bits(
    finished, data, tmp_path, monkeypatch, name
):
    number = signal.Signals[name]
    at_step(monkeypatch, 15, lambda _: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match=r"the state at 0\.1 kimg is saved") as interrupted:
        start(tiny_config(**SHORT), data, tmp_path)
    assert interrupted.value.number == number
    run = tmp_path / "00000-tiny"
    assert states(run)[-1].name == "state-00000000120.safetensors"
    resume(run)
    assert final_state(run) == final_state(finished)
    assert [r["nimg"] for r in read_jsonl(run / "stats.jsonl")] == [48, 96, 144, 160]


def test_a_hangup_that_is_ignored_stays_so():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_a_run_killed_before_its_first_state_begins_anew(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "00000-tiny")
    shutil.rmtree(run / "states")
    (run / "stats.jsonl").unlink()
    resume(run)
    assert final_state(run) == final_state(finished)


def test_a_run_whose_states_are_gone_does_not_begin_anew(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "00000-tiny")
    shutil.rmtree(run / "states")
    with pytest.raises(ToolError, match="its states are gone"):
        resume(run)


@pytest.mark.parametrize("what", ["save_fakes", "measure"])
def test_a_kill_while_a_tick_is_drawn_or_measured_loses_nothing(data, tmp_path, monkeypatch, what):
    config = tiny_config(
        train={"total_kimg": 0.1}, snapshot={"image_ticks": 1, "network_ticks": 1, "metric_images": 20}
    )
    whole = start(config, data, tmp_path / "whole")
    original, calls = getattr(Maintenance, what), []

    def die_at_the_second(self, path):
        calls.append(path)
        if len(calls) == 2:
            raise ZeroDivisionError
        original(self, path)

    monkeypatch.setattr(Maintenance, what, die_at_the_second)
    with pytest.raises(ZeroDivisionError):
        start(config, data, tmp_path)
    run = tmp_path / "00000-tiny"
    assert states(run)[-1].name == "state-00000000048.safetensors"
    resume(run)
    assert final_state(run) == final_state(whole)
    for pattern in ("snapshots/*", "fakes*"):
        assert [p.name for p in sorted(run.glob(pattern))] == [p.name for p in sorted(whole.glob(pattern))]
    assert read_jsonl(run / "metrics.jsonl") == read_jsonl(whole / "metrics.jsonl")


def wait_once(monkeypatch, once: bool) -> None:
    """Have D's update go unseen until G's gradients are there, as on a GPU, or not."""
    original = Steps.__init__

    def init(self, *args, **kwargs):
        original(self, *args, **kwargs)
        self.waits_once = once

    monkeypatch.setattr(Steps, "__init__", init)


@pytest.mark.parametrize("once", [False, True], ids=["each network", "once"])
def test_a_gradient_that_is_not_finite_stops_the_run_with_its_state_saved(once, data, tmp_path, monkeypatch):
    wait_once(monkeypatch, once)
    at_step(monkeypatch, 15, poison)
    with pytest.raises(
        NonFiniteError, match=r"D's loss or gradients are not finite after 0\.1 kimg.*--on-nan skip"
    ):
        start(tiny_config(**SHORT), data, tmp_path)
    state = states(tmp_path / "00000-tiny")[-1]
    assert state.name == "state-00000000112.safetensors"
    monkeypatch.undo()
    whole = start(tiny_config(train={"total_kimg": 0.112}), data, tmp_path / "whole")
    before, after = (read_tensors(file, STATE_FORMAT) for file in (states(whole)[-1], state))
    assert before.tensors.keys() == after.tensors.keys()
    differing = [name for name, value in before.tensors.items() if not value.equal(after.tensors[name])]
    assert differing == []  # as if the step had not been begun
    assert {**after.facts, "tick": 0, "tick_nimg": 0} == {
        **before.facts,
        "tick": 0,
        "tick_nimg": 0,
        "skipped_steps": 1,
        "phase_nimg": 112,
    }


@pytest.mark.parametrize("variant", [{}, {"joint_step": True}, {"d_repeats": 2}])
def test_a_gradient_that_is_not_finite_can_be_skipped(variant, data, tmp_path, monkeypatch):
    finals = []
    for way in (False, True):
        with monkeypatch.context() as patch:
            at_step(patch, 14, poison)  # the last one before G's with d_repeats = 2
            wait_once(patch, way)
            train = {"total_kimg": 0.16, "on_nan": "skip", **variant}
            run = start(tiny_config(train=train), data, tmp_path / str(way))
        assert read_jsonl(run / "stats.jsonl")[-1]["skipped_steps"] == 1
        finals.append(final_state(run))
    assert finals[0] == finals[1]


def test_other_data_are_refused_on_resume(finished, tmp_path):
    other = write_pyramid(tmp_path / "other.h5", count=51)
    with pytest.raises(ToolError, match="not the data of"):
        resume_run(finished, torch.device("cpu"), World(), data=other)


def test_data_that_do_not_fit_are_refused_with_the_remedy(tmp_path):
    small = write_pyramid(tmp_path / "small.h5", resolution=8)
    with pytest.raises(ToolError, match=r"small\.h5: resolution 8, but tiny has 16; --set resolution=8 fits"):
        start(tiny_config(), small, tmp_path)
    assert not list(tmp_path.glob("00000-*"))


def test_labels_that_are_not_one_hot_are_refused(tmp_path):
    path = tmp_path / "attributes.h5"
    with PyramidWriter(path, 16) as pyramid:
        pyramid.append(
            np.zeros((4, 3, 16, 16), dtype=np.uint8), labels=np.float32([[1, 0], [0.3, 0.7], [1, 1], [0, 0]])
        )
    labels = {"generator": {"label_size": 2}, "discriminator": {"label_size": 2}}
    sections = {name: {**TINY[name], **labels[name]} for name in labels}
    with pytest.raises(ToolError, match=r"not one-hot.*--set label_size=0"):
        start(tiny_config(**sections), path, tmp_path)


def test_a_disk_that_is_too_small_is_found_out_at_the_start(data, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 90, 10))
    with pytest.raises(ToolError, match=r"GB on disk for 3 states of 0\..* MB, 2 snapshots.*make room"):
        start(tiny_config(), data, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


VARIANTS = {
    "lsgan": {"loss": {"kind": "lsgan", "gdrop_coefficient": 0.2}},
    "joint": {"train": {"total_kimg": 0.1, "joint_step": True}},
    "repeats": {"train": {"total_kimg": 0.1, "d_repeats": 2, "minibatch_repeats": 2}},
    "batchnorm": {"generator": {"resolution": 16, "fmap_max": 8, "latent_size": 8, "use_batchnorm": True}},
    "mbdisc": {
        "discriminator": {"resolution": 16, "fmap_max": 8, "mbstd_group_size": 0, "mbdisc_kernels": 5}
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_step_runs(variant, data, tmp_path):
    sections = {"train": {"total_kimg": 0.1}, **VARIANTS[variant]}
    run = start(tiny_config(**sections), data, tmp_path)
    last = read_jsonl(run / "stats.jsonl")[-1]
    assert math.isfinite(last["loss_D"])
    assert ("penalty" in last) == (variant != "lsgan")


def test_snapshots_are_measured_when_asked_for(data, tmp_path):
    snapshot = {"image_ticks": 100, "network_ticks": 100, "metric_images": 30}
    run = start(tiny_config(train={"total_kimg": 0.05}, snapshot=snapshot), data, tmp_path)
    records = read_jsonl(run / "metrics.jsonl")
    assert [record["nimg"] for record in records] == [0, 56]
    assert records[0].keys() == {"nimg", "kimg", "swd_16", "swd", "ms_ssim"}
