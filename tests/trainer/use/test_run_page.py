"""A run's page: drawn from the run's figures, beside the run's own pictures."""

import re
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from tiny_runs import start, tiny_config, write_pyramid

from celebahq.errors import ToolError
from celebahq.jobs.locks import owning
from trainer.cli import main
from trainer.storage.run_status import STATS, run_status
from trainer.storage.runs import LOCK
from trainer.use.run_page import HEIGHT, PAGE, WIDTH, chart, scores_of_evaluation, scores_of_metrics


def test_a_curve_goes_from_corner_to_corner():
    drawn = chart("x", [{"kimg": 0.0, "a": 5.0}, {"kimg": 10.0, "a": 1.0}], ["a"])
    assert drawn is not None
    assert drawn.curves[0].points == f"0.0,0.0 {WIDTH:.1f},{HEIGHT:.1f}"
    assert (drawn.low, drawn.high, drawn.last_kimg) == (1.0, 5.0, 10.0)


@pytest.mark.parametrize("records", [[], [{"kimg": 1.0, "a": 1.0}], [{"kimg": 1.0}, {"kimg": 2.0}]])
def test_fewer_than_two_values_are_no_curve(records):
    assert chart("x", records, ["a"]) is None


def test_the_runs_own_measurements_are_a_table():
    records = [
        {"nimg": 0, "kimg": 0.0, "swd_32": 30.5, "swd_16": 20.25, "swd": 25.375, "ms_ssim": 0.25},
        {"nimg": 12000, "kimg": 12.0, "swd_32": 3.5, "swd_16": 2.25, "swd": 2.875, "ms_ssim": 0.75},
    ]
    table = scores_of_metrics(records)
    assert table is not None
    assert list(table.head) == ["kimg", "32 px", "16 px", "SWD", "MS-SSIM"]
    assert table.rows[1] == ["12.0", "3.5", "2.25", "2.875", "0.75"]
    assert scores_of_metrics([]) is None


def test_what_evaluate_found_is_a_table_with_errors_and_the_reals():
    def distance(value, se):
        return {"levels": {"16": {"value": value, "se": se}}, "average": {"value": value, "se": se}}

    report = {
        "images": 100,
        "sets": [{"fake": "12.0 kimg", "swd": distance(3.25, 0.5), "ms_ssim": {"value": 0.25}}],
        "reference": {"disjoint": distance(1.0, None)},
    }
    table = scores_of_evaluation(report)
    assert table is not None
    assert table.title.endswith("on 100 images")
    assert table.rows == [["12.0", "3.2 ± 0.5", "3.2 ± 0.5", "0.25"], ["reals, two halves", "1.0", "1.0", ""]]
    assert scores_of_evaluation(None) is None
    assert scores_of_evaluation({"images": 9, "sets": [{"fake": "0.0 kimg", "ms_ssim": {}}]}) is None


def test_a_page_that_another_command_is_writing_ends_no_run(tmp_path: Path, caplog):
    config = tiny_config(train={"total_kimg": 0.05})
    with patch("trainer.use.run_page.write_text", side_effect=ToolError("index.html", "another is writing")):
        run = start(config, write_pyramid(tmp_path / "data.h5"), tmp_path / "runs")
    assert run_status(run).state == "finished"
    assert "the run's page stays as it is: index.html: another is writing" in caplog.text


def test_the_page_of_a_run_at_work_is_the_runs_own(tmp_path: Path):
    config = tiny_config(train={"total_kimg": 0.05})
    run = start(config, write_pyramid(tmp_path / "data.h5"), tmp_path / "runs")
    (run / STATS).unlink()
    (run / PAGE).write_text("the run's own")
    with owning(run / LOCK):
        assert CliRunner().invoke(main, ["status", str(run)]).exit_code == 0
    assert (run / PAGE).read_text() == "the run's own"
    assert CliRunner().invoke(main, ["status", str(run)]).exit_code == 0
    assert "begun" in (run / PAGE).read_text()


def test_the_training_leaves_a_page_whose_pictures_are_there(tmp_path: Path):
    config = tiny_config(train={"total_kimg": 0.16}, snapshot={"image_ticks": 1, "network_ticks": 100})
    run = start(config, write_pyramid(tmp_path / "data.h5"), tmp_path / "runs")
    page = (run / PAGE).read_text()
    pictures = re.findall(r'<img src="([^"]+)"', page)
    assert pictures
    assert all((run / name).is_file() for name in pictures)
    assert "loss_D" in page
    assert 'http-equiv="refresh"' not in page  # it has ended
