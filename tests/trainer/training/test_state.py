"""States that were damaged, are of another run, or were being written when the power went."""

import logging
import os
import random
import shutil

import pytest
import torch
from recording_disk import Recorder, crash
from tiny_runs import CPU, final_state, resume, start, tiny_config, write_pyramid

from celebahq.errors import FormatError, ToolError
from trainer.storage.checkpoint import STATE_FORMAT, read_tensors, states
from trainer.storage.runs import Run, open_run
from trainer.training import maintenance
from trainer.training.state import load_state, new_state, newest_state, save_state


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("data") / "data.h5")


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    return start(tiny_config(), data, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / finished.name)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def test_a_damaged_newest_state_is_set_aside_and_the_one_before_it_continued(run, finished, caplog):
    *_, before, newest = states(run)
    flip_a_bit(newest)
    resume(run)
    assert f"{newest}: damaged" in caplog.text
    assert "going back to the state before it" in caplog.text
    assert final_state(run) == final_state(finished)
    assert (run / "states" / f"{newest.name}.damaged").exists()
    assert before.exists() or len(states(run)) > 1


def test_a_run_without_a_good_state_is_refused(run):
    for path in states(run):
        flip_a_bit(path)
    count = len(states(run))
    with pytest.raises(ToolError, match=f"none of its {count} states can be read"):
        resume(run)
    assert len(states(run)) == count


def test_a_state_of_another_run_is_not_taken_for_its_own(run, finished, data, tmp_path, caplog):
    other = start(tiny_config(train={"total_kimg": 0.32, "seed": 1}), data, tmp_path / "others")
    newest = states(run)[-1]
    shutil.copy(states(other)[-1], newest)
    resume(run)
    assert f"{newest}: of another run" in caplog.text
    assert final_state(run) == final_state(finished)


def test_a_state_of_other_networks_is_one_line(finished, tmp_path):
    config = tiny_config(generator={"latent_size": 4})
    small = Run(tmp_path, config, tmp_path)
    (tmp_path / "states").mkdir()
    path = save_state(small, new_state(config, CPU))
    with pytest.raises(FormatError, match="not a state of networks as this run's configuration makes them"):
        load_state(path, open_run(finished).config, CPU)


def test_a_run_of_before_identities_goes_on(run, finished):
    text = (run / "data.json").read_text()
    lines = [line for line in text.splitlines() if '"run"' not in line]
    assert len(lines) == len(text.splitlines()) - 1
    (run / "data.json").write_text("\n".join(lines))
    states(run)[-1].unlink()
    resume(run)
    assert [path.name for path in states(run)][-1] == states(finished)[-1].name


def test_damaged_lines_among_the_figures_are_left_out_and_counted(run, finished, caplog):
    states(run)[-1].unlink()
    stats = run / "stats.jsonl"
    lines = stats.read_text().splitlines()
    damaged = ["{", "\0\0\0", "5", '{"kimg": 1}', "[" * 100_000]
    stats.write_text("\n".join([*lines[:1], *damaged, *lines[1:]]) + "\n")
    with caplog.at_level(logging.WARNING):
        resume(run)
    assert f"{stats}: 5 damaged lines" in caplog.text
    assert final_state(run) == final_state(finished)


@pytest.mark.slow
def test_after_a_power_loss_every_state_is_whole_and_the_newest_is_there(
    data, finished, tmp_path, monkeypatch
):
    live, saved = tmp_path / "live", []
    live.mkdir()
    with monkeypatch.context() as patched:
        recorder = Recorder(live, patched)

        def noting(*arguments):
            name = save_state(*arguments).name
            saved.append((len(recorder.moments), name))

        patched.setattr(maintenance, "save_state", noting)
        start(tiny_config(), data, live)
    assert len(saved) > 5
    assert len(recorder.moments) > 40
    rng = random.Random(0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # of the second run; it takes the time
    resumed = set(rng.sample(range(saved[0][0], len(recorder.moments)), 4))
    for number, moment in enumerate(recorder.moments):
        disk = tmp_path / f"disk{number}"
        crash(moment, live, disk, rng)
        there = sorted(disk.glob("*/states/state-*.safetensors"))
        for path in there:
            read_tensors(path, STATE_FORMAT)
        sure = [name for when, name in saved if when <= number]
        if sure:
            assert there, number
            assert there[-1].name >= sure[-1], number
        if number in resumed:
            run = next(path for path in disk.iterdir() if path.suffix != ".partial")
            resume(run)
            assert final_state(run) == final_state(finished), number
        shutil.rmtree(disk)


def test_the_newest_state_is_the_one_that_is_read(finished):
    state, damaged = newest_state(open_run(finished), torch.device("cpu"))
    assert (state.nimg, damaged) == (320, [])
