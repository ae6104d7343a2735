"""Figures of a run: means, the tick line, the estimate of the time left, records after a kill."""

import sys

import pytest
import torch

from celebahq.files import append_jsonl, read_jsonl
from trainer.training.progress import Averages, Report, TimeLeft, tick_line
from trainer.use.grids import grid_shape, to_uint8
from trainer.use.video import interpolation_latents

RECORD = {
    "tick": 3,
    "nimg": 1500,
    "kimg": 1.5,
    "lod": 2.25,
    "resolution": 16,
    "minibatch": 16,
    "images_per_sec": 20.0,
    "sec_per_kimg": 50.0,
    "memory_gb": 0.5,
    "loss_D": -1.0,
    "loss_G": 2.0,
    "skipped_steps": 0,
    "left_sec": 3725,
}


def test_averages_are_of_one_tick():
    averages = Averages()
    averages.add({"loss": torch.tensor(1.0)})
    averages.add({"loss": torch.tensor(3.0), "other": torch.tensor(5.0)})
    assert averages.take() == {"loss": 2.0, "other": 5.0}
    assert averages.take() == {}


def test_the_tick_line_holds_what_a_watcher_wants():
    line = tick_line(RECORD)
    assert "\n" not in line
    for part in ("kimg 1.5", "lod 2.25", "16x16", "20.0 images/s", "50.00 s/kimg", "0.50 GB", "left 1h 02m"):
        assert part in line


def test_time_left_uses_what_was_seen_and_extrapolates_by_arithmetic():
    left = TimeLeft(lambda kimg: 8 if kimg < 10 else 16, {8: 1.0, 16: 4.0}, total_kimg=20)
    left.update(8, sec_per_kimg=3.0)
    assert left.seconds(0.0) == pytest.approx(10 * 3 + 10 * 12)
    left.update(16, sec_per_kimg=5.0)
    assert left.seconds(0.0) == pytest.approx(10 * 3 + 10 * 5)
    assert left.seconds(20.0) == 0.0


def test_records_behind_the_state_are_dropped_on_resume(tmp_path):
    for nimg in (1000, 2000, 3000):
        append_jsonl(tmp_path / "stats.jsonl", {**RECORD, "nimg": nimg})
    with Report(tmp_path, nimg=2000, is_main=True, tensorboard=False) as report:
        report.tick({**RECORD, "nimg": 2500})
    assert [record["nimg"] for record in read_jsonl(tmp_path / "stats.jsonl")] == [1000, 2000, 2500]


def test_without_tensorboard_the_run_says_so_and_keeps_its_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # what an import finds that fails
    with Report(tmp_path, nimg=0, is_main=True) as report:
        report.tick({**RECORD, "nimg": 1000})
    assert "pip install 'celebahq-toolkit[tensorboard]'" in capsys.readouterr().err
    assert [record["nimg"] for record in read_jsonl(tmp_path / "stats.jsonl")] == [1000]
    assert not list(tmp_path.glob("events*"))


def test_images_are_rounded_and_clipped():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(levels * (2 / 255) - 1), levels)
    assert to_uint8(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]


def test_a_screen_is_filled():
    assert grid_shape(1024) == (3, 2)
    assert grid_shape(64) == (16, 16)


def test_interpolation_latents_wander_in_a_loop_with_unit_power():
    latents = interpolation_latents(0, frames=60, images=2, latent_size=8, sigma_frames=5.0)
    assert latents.shape == (60, 2, 8)
    assert (latents**2).mean() == pytest.approx(1, rel=1e-5)
    steps = abs(latents - latents.take(range(1, 61), axis=0, mode="wrap")).mean(axis=(1, 2))
    assert steps.max() < 0.5
    assert steps[-1] < 2 * steps.mean()  # the last frame leads into the first
