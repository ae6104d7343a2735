"""A run's page: drawn from the run's figures, beside the run's own pictures."""

import re
from pathlib import Path

import pytest
from tiny_runs import start, tiny_config, write_pyramid

from trainer.use.run_page import HEIGHT, PAGE, WIDTH, chart


def test_a_curve_goes_from_corner_to_corner():
    drawn = chart("x", [{"kimg": 0.0, "a": 5.0}, {"kimg": 10.0, "a": 1.0}], ["a"])
    assert drawn is not None
    assert drawn.curves[0].points == f"0.0,0.0 {WIDTH:.1f},{HEIGHT:.1f}"
    assert (drawn.low, drawn.high, drawn.last_kimg) == (1.0, 5.0, 10.0)


@pytest.mark.parametrize("records", [[], [{"kimg": 1.0, "a": 1.0}], [{"kimg": 1.0}, {"kimg": 2.0}]])
def test_fewer_than_two_values_are_no_curve(records):
    assert chart("x", records, ["a"]) is None


def test_the_training_leaves_a_page_whose_pictures_are_there(tmp_path: Path):
    config = tiny_config(train={"total_kimg": 0.16}, snapshot={"image_ticks": 1, "network_ticks": 100})
    run = start(config, write_pyramid(tmp_path / "data.h5"), tmp_path / "runs")
    page = (run / PAGE).read_text()
    pictures = re.findall(r'<img src="([^"]+)"', page)
    assert pictures
    assert all((run / name).is_file() for name in pictures)
    assert "loss_D" in page
    assert 'http-equiv="refresh"' not in page  # it has ended
