"""Where a run stands, from its folder alone."""

import json
import os
import signal
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from tiny_runs import start, start_and_die_at_a_tick, tiny_config, write_pyramid

from celebahq.errors import ToolError
from celebahq.files import read_jsonl
from celebahq.jobs.locks import owning
from trainer.cli import main
from trainer.storage.run_status import STATS, run_status
from trainer.storage.runs import LOCK
from trainer.training.maintenance import Maintenance
from trainer.use.run_page import PAGE, render_run_page

CASES = [  # ticks, whether a process holds the lock, state
    (1, True, "running"),
    (1, False, "stopped"),
    (0, True, "running"),
    (0, False, "begun"),
    (9, True, "finished"),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run."""
    config = tiny_config(train={"total_kimg": 0.1}, snapshot={"image_ticks": 1, "network_ticks": 1})
    return start(config, write_pyramid(tmp_path / "data.h5"), tmp_path / "runs")


def shorten(run: Path, ticks: int, age_sec: float) -> None:
    """Make the run look as if it had made `ticks` ticks, the last of them `age_sec` ago."""
    records = read_jsonl(run / STATS)[:ticks]
    (run / STATS).write_text("".join(json.dumps(record) + "\n" for record in records))
    moment = time.time() - age_sec
    os.utime(run / STATS, (moment, moment))


def test_a_finished_run_says_so_and_names_its_newest_files(run):
    found = run_status(run)
    assert (found.state, found.kimg, found.total_kimg) == ("finished", pytest.approx(0.1, abs=0.02), 0.1)
    assert found.newest_grid == f"fakes000000_{round(1000 * found.kimg):03d}.png"
    assert (run / str(found.newest_grid)).is_file()
    assert (run / "snapshots" / str(found.newest_snapshot)).is_file()
    assert found.disk_bytes == sum(path.stat().st_size for path in run.rglob("*") if path.is_file())


@pytest.mark.parametrize(("ticks", "held", "state"), CASES)
@pytest.mark.parametrize("age_sec", [0, 9999])
def test_a_run_is_at_work_while_a_process_holds_its_lock(run, ticks, held, state, age_sec):
    shorten(run, ticks, age_sec)
    with owning(run / LOCK) if held else nullcontext():
        assert run_status(run).state == state


def test_a_killed_run_is_stopped_at_once(tmp_path):
    data = write_pyramid(tmp_path / "data.h5")
    process = get_context("spawn").Process(target=start_and_die_at_a_tick, args=(data, tmp_path))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    states = (tmp_path / "seen").read_text(), run_status(tmp_path / "runs" / "00000-tiny").state
    assert states == ("running", "stopped")


def test_the_page_of_a_run_that_ended_early_says_that_it_has(tmp_path):
    with (
        patch.object(Maintenance, "_report", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        start(tiny_config(), write_pyramid(tmp_path / "data.h5"), tmp_path / "runs")
    page = (tmp_path / "runs" / "00000-tiny" / PAGE).read_text()
    assert "<p>begun, 0 of 0.32 kimg, 0.0 %</p>" in page
    assert "A run that is killed" not in page


def test_a_page_tells_the_moment_and_a_line_the_time_since(run):
    shorten(run, 1, 3600)
    status = run_status(run)
    moment = datetime.fromtimestamp((run / STATS).stat().st_mtime, UTC)
    with owning(run / LOCK):
        page = render_run_page(run)
    assert status.lines()[2].startswith("last tick 1h 00m ago, loss_D ")
    assert f"<p>last tick {moment:%Y-%m-%d %H:%M} UTC, loss_D " in page
    assert " ago" not in page
    assert "A run that is killed" in page


def test_images_below_a_thousand_are_not_rounded_away(run):
    shorten(run, 1, 0)
    kimg = read_jsonl(run / STATS)[0]["kimg"]
    assert f", {kimg:g} of 0.1 kimg, {1000 * kimg:.1f} %" in run_status(run).lines()[0]


def test_ticks_less_than_a_kimg_apart_have_a_grid_each(run):
    shown = [record["nimg"] for record in read_jsonl(run / STATS)]
    names = ["fakes000000.png", *(f"fakes000000_{nimg:03d}.png" for nimg in shown)]
    assert len(shown) > 1
    assert sorted(path.name for path in run.glob("fakes*")) == names


def test_a_state_that_the_run_removes_meanwhile_is_no_error(run, monkeypatch):
    expected, rglob = run_status(run).disk_bytes, Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda path, pattern: [*rglob(path, pattern), path / "removed"])
    assert run_status(run).disk_bytes == expected


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ToolError, match="not a run folder"):
        run_status(tmp_path)


def test_the_command_gives_the_same_as_lines_and_as_json(run):
    lines = CliRunner().invoke(main, ["status", str(run)])
    values = json.loads(CliRunner().invoke(main, ["status", str(run), "--json"]).stdout)
    assert lines.exit_code == 0
    assert f"finished, {values['kimg']:g} of 0.1 kimg" in lines.stdout
    assert values["page"] == str(run / "index.html")
