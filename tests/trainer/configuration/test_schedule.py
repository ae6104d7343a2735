"""The schedule against the tables of the original programs, and against its own definition."""

import dataclasses
import json
from itertools import pairwise
from pathlib import Path

import pytest

from trainer.configuration.config import ScheduleConfig
from trainer.configuration.presets import preset
from trainer.configuration.schedule import TrainingSchedule

GOLDEN = Path(__file__).parents[2] / "golden" / "trainer"

PRESETS = {
    "theano-celebahq": ("celebahq-1024-v1", 1),
    "v2-1gpu": ("celebahq-1024", 1),
    "v2-2gpus": ("celebahq-1024", 2),
    "v2-4gpus": ("celebahq-1024", 4),
    "v2-8gpus": ("celebahq-1024", 8),
}


def load(name):
    return json.loads((GOLDEN / name).read_text())


def golden_rows(name):
    table = load("schedule.json")
    return [dict(zip(table["columns"], row, strict=True)) for row in table["presets"][name]]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_follows_the_published_schedule(name):
    schedule = TrainingSchedule(preset(*PRESETS[name]).schedule)
    for row in golden_rows(name):
        phase = schedule.at(row["kimg"])
        assert phase.lod == pytest.approx(row["lod"], abs=1e-9)
        assert phase.learning_rate == pytest.approx(row["lrate"], rel=1e-9)
        assert (phase.resolution, phase.minibatch, phase.tick_kimg) == (
            row["resolution"],
            row["minibatch"],
            row["tick_kimg"],
        )


@pytest.mark.parametrize("row", load("lod_custom.json"), ids=lambda row: f"{row['init']}-{row['kimg']}")
def test_lod_of_any_schedule(row):
    config = ScheduleConfig(
        resolution=row["resolution"],
        initial_resolution=row["init"],
        train_kimg=row["train"],
        trans_kimg=row["trans"],
    )
    assert TrainingSchedule(config).at(row["kimg"]).lod == pytest.approx(row["lod"], abs=1e-9)


def test_the_first_versions_tensorflow_schedule_differs_in_ramp_and_ticks_only():
    config = preset("celebahq-1024-v1").schedule
    schedule = TrainingSchedule(dataclasses.replace(config, rampup_kimg=0.0))
    for row in golden_rows("v1-1gpu"):
        phase = schedule.at(row["kimg"])
        assert phase.lod == pytest.approx(row["lod"], abs=1e-9)
        assert (phase.resolution, phase.minibatch, phase.learning_rate) == (
            row["resolution"],
            row["minibatch"],
            row["lrate"],
        )


@pytest.mark.parametrize("row", load("run_simulation.json"), ids=lambda row: row["preset"])
def test_stages_count_every_minibatch_of_a_run(row):
    config = preset("celebahq-1024" if row["preset"] == "v2-1gpu" else "celebahq-1024-v1")
    total_kimg = config.train.total_kimg
    stages = list(TrainingSchedule(config.schedule).stages(total_kimg, row["minibatch_repeats"]))
    assert {str(s.resolution): s.d_updates for s in stages} == row["updates_per_resolution"]
    assert sum(s.d_updates for s in stages) == row["D_updates"]
    assert sum(s.d_updates * s.minibatch for s in stages) == row["final_nimg"]


@pytest.mark.parametrize("own", [{}, {8: 1.5}, {4: 0.25, 16: 2}, {8: 0, 32: 1, 64: 1}])
@pytest.mark.parametrize(
    ("train_kimg", "trans_kimg", "minibatch", "repeats"),
    [(1, 1, 7, 4), (0.3, 0.2, 16, 1), (1, 0, 8, 1), (0, 1, 8, 3)],
)
def test_stages_agree_with_asking_before_every_group(train_kimg, trans_kimg, minibatch, repeats, own):
    config = ScheduleConfig(
        resolution=32, train_kimg=train_kimg, trans_kimg=trans_kimg, minibatch=minibatch,
        minibatch_by_resolution={16: 2 * minibatch}, train_kimg_by_resolution=own,
    )  # fmt: skip
    schedule = TrainingSchedule(config)
    counts, nimg = dict.fromkeys((4, 8, 16, 32), 0), 0
    while nimg < 9000:
        phase = schedule.at(nimg / 1000)
        counts[phase.resolution] += repeats
        nimg += phase.minibatch * repeats
    assert {s.resolution: s.d_updates for s in schedule.stages(9, repeats)} == counts


def test_the_optimizer_resets_at_both_ends_of_each_fade_only():
    schedule = TrainingSchedule(ScheduleConfig(resolution=8, train_kimg=1, trans_kimg=1))
    phases = [schedule.at(nimg / 1000) for nimg in range(0, 4000, 250)]
    resets = [after.kimg for before, after in pairwise(phases) if after.resets_optimizer(before)]
    assert resets == [1.25, 2.0]  # just behind 1.0, where the fade begins, and where it is complete


def test_a_fade_is_trained_at_the_higher_resolution():
    phase = TrainingSchedule(ScheduleConfig(resolution=8, train_kimg=1, trans_kimg=1)).at(1.25)
    assert (phase.lod, phase.resolution) == (0.75, 8)


def test_a_stage_of_its_own_length_moves_what_follows_it():
    plain = ScheduleConfig(resolution=32, train_kimg=1, trans_kimg=1)
    longer = dataclasses.replace(plain, train_kimg_by_resolution={8: 3.5, 32: 9})
    of_plain, of_longer = TrainingSchedule(plain), TrainingSchedule(longer)
    for quarter in range(40):
        kimg = quarter / 4
        before = kimg if kimg < 2 else max(kimg - 2.5, 2.0)  # 8x8 is trained from 2 to 5.5
        assert of_longer.at(kimg).lod == of_plain.at(before).lod, kimg
