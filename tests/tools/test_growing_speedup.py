"""The sum over a schedule: `tools/growing_speedup.py`."""

import json

import growing_speedup
import pytest
from click.testing import CliRunner
from growing_figure import hours
from growing_speedup import Stage, factor

from trainer.configuration.presets import preset
from trainer.configuration.settings import override


def test_half_of_the_images_at_a_quarter_of_the_cost_is_the_closed_form():
    stages = [Stage(32, 5.0, 1.0, 2.0), Stage(64, 5.0, 4.0, 3.0)]
    assert factor(stages, "tflop_per_kimg") == pytest.approx(10 * 4 / (5 * 1 + 5 * 4))
    assert factor(stages, "sec_per_kimg") == pytest.approx(10 * 3 / (5 * 2 + 5 * 3))


def test_a_run_that_starts_at_its_resolution_gains_nothing():
    result = CliRunner().invoke(growing_speedup.main, ["--preset", "table1-a", "--operations", "--json"])
    assert json.loads(result.stdout)["factors"] == {"operations": pytest.approx(1)}


def test_the_images_of_the_stages_are_those_of_the_run():
    arguments = ["--preset", "smoke", "--kimg", "5", "--steps", "1", "--device", "cpu", "--json"]
    report = json.loads(CliRunner().invoke(growing_speedup.main, arguments).stdout)
    assert sum(stage["kimg"] for stage in report["stages"]) == pytest.approx(5, abs=0.1)


def test_hours_are_the_images_of_each_resolution_times_its_seconds():
    config = override(preset("smoke"), ("schedule.train_kimg=1", "schedule.trans_kimg=1"))
    seconds = {4: 1.0, 8: 4.0, 16: 16.0, 32: 64.0}
    spent = hours(config, 4.0, seconds)  # 1 kimg at 4x4, 2 at 8x8, 1 at 16x16
    assert spent == pytest.approx((1 * 1 + 2 * 4 + 1 * 16) / 3600, rel=0.1)
