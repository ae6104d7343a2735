"""Figures of a run: means, the tick line, the estimate of the time left, records after a kill."""

import sys

import numpy as np
import pytest
import torch

from celebahq.files import append_jsonl, read_jsonl
from trainer.configuration.config import ScheduleConfig
from trainer.configuration.schedule import TrainingSchedule
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
    for part in ("kimg 1.5", "lod 2.25", "16x16", "20 images/s", "50.00 s/kimg", "0.50 GB", "left 1h 02m"):
        assert part in line


SCHEDULE = TrainingSchedule(
    ScheduleConfig(resolution=16, initial_resolution=4, train_kimg=5, trans_kimg=5, minibatch=10)
)  # 4x4 up to 5 kimg, 8x8 up to 15, then 16x16
FLOPS = {4: 1.0, 8: 4.0, 16: 20.0}


def test_time_left_uses_what_was_seen():
    left = TimeLeft(SCHEDULE, FLOPS, total_kimg=20)
    for resolution, sec_per_kimg in ((4, 2.0), (8, 3.0), (16, 7.0)):
        left.update(resolution, sec_per_kimg)
    assert left.seconds(0.0) == pytest.approx(5 * 2 + 10 * 3 + 5 * 7)
    assert left.seconds(20.0) == 0.0


def test_time_left_draws_a_line_through_the_two_largest_resolutions_seen():
    left = TimeLeft(SCHEDULE, FLOPS, total_kimg=20)
    left.update(4, 2.0)
    left.update(8, 5.0)  # one second per operation on top of one
    assert left.seconds(5.0) == pytest.approx(10 * 5 + 5 * 21, rel=0.01)  # sums over 500 points


def test_time_left_takes_most_of_a_4x4_step_as_constant():
    left = TimeLeft(SCHEDULE, FLOPS, total_kimg=20, earlier=[{"resolution": 4, "sec_per_kimg": 1.0}])
    assert left.seconds(0.0) == pytest.approx(5 * 1 + 10 * (0.7 + 4 * 0.3) + 5 * (0.7 + 20 * 0.3))


def test_time_left_is_never_less_than_the_largest_step_seen():
    left = TimeLeft(SCHEDULE, FLOPS, total_kimg=20)
    left.update(4, 5.0)  # of a busy machine
    left.update(8, 3.0)
    assert left.seconds(15.0) == pytest.approx(5 * 3)


def test_slow_runs_have_a_speed_too():
    assert "0.00123 images/s" in tick_line({**RECORD, "images_per_sec": 0.001234})


def test_records_behind_the_state_are_dropped_on_resume(tmp_path):
    for nimg in (1000, 2000, 3000):
        append_jsonl(tmp_path / "stats.jsonl", {**RECORD, "nimg": nimg})
    with Report(tmp_path, nimg=2000, is_main=True, tensorboard=False) as report:
        report.tick({**RECORD, "nimg": 2500})
    assert [record["nimg"] for record in read_jsonl(tmp_path / "stats.jsonl")] == [1000, 2000, 2500]


@pytest.mark.parametrize("channels", [1, 3])
def test_tensorboard_gets_figures_grids_and_the_configuration(tmp_path, channels):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    picture = np.zeros((8, 12, channels), np.uint8)
    with Report(tmp_path, nimg=0, is_main=True) as report:
        report.configuration({"train": {"total_kimg": 7}}, 0)
        report.picture("fakes", picture, 5000)
        report.tick({**RECORD, "nimg": 1000})
    events = EventAccumulator(str(tmp_path)).Reload()
    assert "loss_D" in events.Tags()["scalars"]
    (image,) = events.Images("fakes")
    assert (image.step, image.width, image.height) == (5, 12, 8)
    (text,) = events.Tensors("configuration/text_summary")
    assert b'"total_kimg": 7' in text.tensor_proto.string_val[0]


def test_without_tensorboard_the_run_says_so_and_keeps_its_figures(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", logger="trainer")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # what an import finds that fails
    with Report(tmp_path, nimg=0, is_main=True) as report:
        report.tick({**RECORD, "nimg": 1000})
    assert "pip install 'celebahq-toolkit[tensorboard]'" in caplog.text
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
