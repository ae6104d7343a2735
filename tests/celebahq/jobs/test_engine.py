"""Workers die, cannot start, or meet an item that kills them: the job goes on or says why it cannot."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from celebahq.jobs.cluster import DaskCluster
from celebahq.jobs.engine import choose_engine
from celebahq.jobs.pool import ProcessPool
from celebahq.threads import processors

TOY = Path(__file__).with_name("toy_job.py")


def run(out, *options):
    command = [sys.executable, str(TOY), "run", str(out), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_an_item_that_kills_its_workers_is_skipped_with_that_reason(tmp_path):
    out = tmp_path / "toy.h5"
    result = run(out, "--deadly", 13, "--calls", tmp_path / "calls", "--die-in-merge", 0)
    assert result.returncode == -signal.SIGKILL, result.stderr  # in the merge: the items were done
    calls = (tmp_path / "calls").read_text().split()
    assert calls.count("13") == 5
    assert sorted(map(int, set(calls))) == list(range(60))
    logs = b"".join(path.read_bytes() for path in (tmp_path / "toy.h5.work").glob("shard-*.log"))
    assert b"5 worker processes died at it (out of memory, or a crash in a library)" in logs


@pytest.mark.parametrize("trouble", ["--endless", "--stopped"])
def test_an_item_without_end_is_skipped_with_that_reason(tmp_path, trouble):
    """Whether it computes for ever or its worker was stopped, which the worker cannot notice itself."""
    result = run(tmp_path / "toy.h5", trouble, 13, "--item-timeout", 1, "--workers", 2)
    assert result.returncode == 0, result.stderr
    assert "toy: 60/60 images" in result.stderr
    assert "7 skipped" in result.stderr  # six are never usable
    with h5py.File(tmp_path / "toy.h5") as file:
        assert b"013.jpg" not in file["meta/source_name"][:]
        assert len(file["labels"]) == 53


def test_a_kill_of_the_command_is_no_fault_of_the_item_in_work(tmp_path):
    out, calls = tmp_path / "toy.h5", tmp_path / "calls"
    for _ in range(6):
        calls.unlink(missing_ok=True)
        command = [sys.executable, TOY, "run", out, "--delay", 30, "--workers", 1, "--calls", calls]
        with subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL) as process:
            while not calls.exists():
                assert process.poll() is None
                time.sleep(0.02)
            process.kill()
    assert calls.read_text() == "0\n"
    assert run(out).returncode == 0
    with h5py.File(out) as file:
        assert file["meta/source_name"][0] == b"000.jpg"


def test_what_a_worker_cannot_load_ends_the_job_in_one_line(tmp_path):
    result = run(tmp_path / "toy.h5", "--cannot-start", "says why")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "Error: toy.safetensors: not found; train one first"
    assert "Traceback" not in result.stderr


def test_workers_that_die_while_they_start_end_the_job(tmp_path):
    result = run(tmp_path / "toy.h5", "--cannot-start", "dies", "--workers", 1)
    assert result.returncode == 1
    assert "toy: 5 worker processes in a row died while they started" in result.stderr


def test_the_machines_processors_are_the_default():
    engine = choose_engine(None)
    assert isinstance(engine, ProcessPool)
    assert 1 <= engine.workers <= processors()
    assert choose_engine(4).facts() == {"workers": 4, "cluster": None}
    assert isinstance(choose_engine(4, "tcp://nowhere:1"), DaskCluster)
