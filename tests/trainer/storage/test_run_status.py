"""Where a run stands, from its folder alone."""

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_runs import start, tiny_config, write_pyramid

from celebahq.errors import ToolError
from celebahq.files import read_jsonl
from trainer.cli import main
from trainer.storage.run_status import STATS, run_status

CASES = [(1, 0, "running"), (1, 9999, "stopped"), (0, 0, "begun")]  # ticks, age of the last, state


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
    assert (run / str(found.newest_grid)).is_file()
    assert (run / "snapshots" / str(found.newest_snapshot)).is_file()
    assert found.disk_bytes == sum(path.stat().st_size for path in run.rglob("*") if path.is_file())


@pytest.mark.parametrize(("ticks", "age_sec", "state"), CASES)
def test_a_run_is_at_work_while_its_ticks_come(run, ticks, age_sec, state):
    shorten(run, ticks, age_sec)
    assert run_status(run).state == state


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ToolError, match="not a run folder"):
        run_status(tmp_path)


def test_the_command_gives_the_same_as_lines_and_as_json(run):
    lines = CliRunner().invoke(main, ["status", str(run)])
    values = json.loads(CliRunner().invoke(main, ["status", str(run), "--json"]).stdout)
    assert lines.exit_code == 0
    assert f"finished, {values['kimg']:,.1f} of 0.1 kimg" in lines.stdout
    assert values["page"] == str(run / "index.html")
