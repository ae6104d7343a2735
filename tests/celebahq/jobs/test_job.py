"""A job that is killed, again and again, makes the same bytes and does nothing twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import h5py
import numpy as np
import pytest

from celebahq.errors import MissingExtraError, ToolError
from celebahq.importing import import_dataset
from celebahq.jobs.engine import InProcess
from celebahq.jobs.job import Job, image_job
from celebahq.jobs.logs import read_entries
from celebahq.jobs.merge import write_pyramid
from celebahq.jobs.options import JobOptions
from celebahq.jobs.scratch import owning_folder, scratch_for, work_folder
from celebahq.jobs.task import Finished, Task
from celebahq.options import ImportRequest

TOY = Path(__file__).with_name("toy_job.py")


def command(out, *options):
    return [sys.executable, str(TOY), "run", str(out), *map(str, options)]


def run(out, *options):
    return subprocess.run(command(out, *options), capture_output=True, text=True, timeout=120)


def children(pid):
    """Worker processes that `pid` started, as the system lists them."""
    listed = subprocess.run(["ps", "-Awwo", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [int(child) for child, parent, args in rows if int(parent) == pid and "spawn_main" in args]


def recorded(out):
    """Items that the logs of a job hold."""
    logs = [*work_folder(out).glob("shard-*.log"), *work_folder(out).glob("shard-*.part")]
    return {entry.item for log in logs for entry in read_entries(log)}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The bytes of undisturbed runs, by options."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    files = {}
    for name, options in {"all": (), "keep": ("--keep", 20)}.items():
        out = folder / f"{name}.h5"
        result = run(out, "--workers", 0, *options)
        assert result.returncode == 0, result.stderr
        files[name] = out.read_bytes()
    return files


def test_the_number_of_workers_does_not_show(tmp_path, uninterrupted):
    out = tmp_path / "toy.h5"
    result = run(out, "--workers", 3, "--keep", 20)
    assert result.returncode == 0, result.stderr
    assert out.read_bytes() == uninterrupted["keep"]
    assert [path.name for path in tmp_path.iterdir()] == ["toy.h5"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--keep", 20)], ids=["all", "keep"])
def test_random_kills_lose_nothing_and_repeat_nothing(tmp_path, uninterrupted, options):
    out, calls = tmp_path / "toy.h5", tmp_path / "calls"
    calls.touch()
    rng = random.Random(len(options))
    for victim in rng.sample(["parent", "parent", "parent", "worker", "worker", "worker"], 6):
        before, calls_before = recorded(out), calls.read_text()
        options_now = ("--workers", 2, "--delay", 0.25, "--calls", calls, *options)
        with subprocess.Popen(command(out, *options_now), stderr=subprocess.DEVNULL) as process:
            wait_until(lambda before=calls_before: calls.read_text() != before)
            time.sleep(rng.uniform(0, 0.5))
            workers = children(process.pid)
            if victim == "worker":
                os.kill(rng.choice(workers), signal.SIGKILL)
                time.sleep(0.5)
                assert process.poll() is None  # it goes on without
                workers = children(process.pid)
            process.kill()
        wait_until(lambda workers=workers: not any(map(alive, workers)))  # nobody outlives the parent
        assert not before & set(map(int, calls.read_text()[len(calls_before) :].split()))

    before, calls_before = recorded(out), calls.read_text()
    assert 0 < len(before) < 60
    result = run(out, "--calls", calls, *options)
    assert result.returncode == 0, result.stderr
    assert not before & set(map(int, calls.read_text()[len(calls_before) :].split()))
    assert out.read_bytes() == uninterrupted["keep" if options else "all"]
    assert not work_folder(out).exists()


def alive(pid):
    """Whether a process is still there and not a zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.startswith("Z")


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("moment", [("--die-in-merge", 0), ("--die-in-merge", 30), ("--die-in-finish",)])
def test_a_kill_while_the_file_is_written_or_reported(tmp_path, uninterrupted, moment):
    out, calls = tmp_path / "toy.h5", tmp_path / "calls"
    result = run(out, "--workers", 0, *moment)
    assert result.returncode == -signal.SIGKILL
    assert out.exists() == (moment == ("--die-in-finish",))
    result = run(out, "--workers", 0, "--calls", calls)
    assert result.returncode == 0, result.stderr
    assert not calls.exists()
    assert out.read_bytes() == uninterrupted["all"]
    assert {path.name for path in tmp_path.iterdir()} == {"toy.h5"}


def test_the_best_are_kept_in_order_with_their_ranks(tmp_path):
    full, best = tmp_path / "full.h5", tmp_path / "best.h5"
    assert run(full, "--workers", 0).returncode == 0
    assert run(best, "--workers", 0, "--keep", 20).returncode == 0
    with h5py.File(full) as a, h5py.File(best) as b:
        scores = a["meta/quality_score"][:]
        assert len(scores) == 54
        order = sorted(range(54), key=lambda i: (-scores[i], i))
        assert a["meta/quality_rank"][:].tolist() == np.argsort(order).tolist()
        kept = sorted(order[:20])
        assert b["meta/quality_rank"][:].tolist() == np.argsort(order)[kept].tolist()
        for name in ("data32x32", "data1x1", "labels", "meta/landmarks", "meta/source_name"):
            np.testing.assert_array_equal(b[name][:], a[name][:][kept])


def heed_interrupts():
    """Undo what a shell does to its background jobs, which ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_ends_the_workers_and_leaves_a_job_to_continue(tmp_path, uninterrupted):
    out = tmp_path / "toy.h5"
    with subprocess.Popen(
        command(out, "--workers", 2, "--delay", 0.1),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    ) as process:
        wait_until(lambda: recorded(out))
        workers = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and workers alike
        errors = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("interrupted; nothing is half-written")
    assert "Traceback" not in errors
    assert not any(map(alive, workers))
    assert run(out).returncode == 0
    assert out.read_bytes() == uninterrupted["all"]


def test_other_parameters_are_refused_by_name(tmp_path):
    out = tmp_path / "toy.h5"
    assert run(out, "--workers", 0, "--die-in-merge", 0).returncode == -signal.SIGKILL
    result = run(out, "--workers", 0, "--seed", 5)
    assert result.returncode == 1
    assert "toy.h5.work: holds a job begun with other parameters (seed was 0, now 5);" in result.stderr
    assert "delete the folder to begin anew" in result.stderr
    result = run(out, "--workers", 0, "--seed", 10**90)
    assert "other parameters (other seed);" in result.stderr
    assert run(out, "--workers", 0).returncode == 0


def test_a_second_run_on_the_same_job_is_refused(tmp_path):
    out = tmp_path / "toy.h5"
    with subprocess.Popen(command(out, "--delay", 0.1), stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: recorded(out))
        result = run(out)
        assert result.returncode == 1
        assert f"another run is at work here (process {process.pid} on" in result.stderr
        assert process.wait(timeout=60) == 0


def test_an_existing_file_is_never_replaced(tmp_path):
    out = tmp_path / "toy.h5"
    out.write_text("precious")
    result = run(out)
    assert result.returncode == 1
    assert "toy.h5: exists already" in result.stderr
    assert out.read_text() == "precious"
    assert not work_folder(out).exists()


def test_nothing_finished_is_a_failure_with_its_reasons(tmp_path):
    class Hopeless(Task):
        name = "hopeless"

        def __len__(self):
            return 3

        def fingerprint(self):
            return {}

        def process(self, index):
            raise OSError(f"{index}.jpg: truncated")

    out = tmp_path / "x.h5"
    with (
        pytest.raises(ToolError, match=r"none of 3 items was finished: 0\.jpg: truncated; 1\.jpg"),
        scratch_for(out) as scratch,
    ):
        job = image_job(Hopeless(), scratch, 32, options=JobOptions())
        job.run(InProcess())
        write_pyramid(job, out, resolution=32)
    assert not list(tmp_path.iterdir())  # the next command tries again, whatever its parameters


def test_a_codec_whose_package_is_missing_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    options = JobOptions(codec="blosc2")
    with pytest.raises(MissingExtraError, match=r"celebahq-toolkit\[codecs\]"):
        import_dataset(ImportRequest("folder", tmp_path / "none", tmp_path / "x.h5", job=options))
    assert not list(tmp_path.iterdir())


class Scored(Task):
    """Items of 1000 bytes, in three orders of score."""

    name = "scored"

    def __init__(self, order):
        self.scores = {"rising": range(600), "falling": range(600, 0, -1)}.get(order)
        self.scores = self.scores or random.Random(7).choices(range(100), k=600)

    def __len__(self):
        return 600

    def fingerprint(self):
        return {}

    def process(self, index):
        return Finished([bytes([index % 251]) * 1000], score=self.scores[index])


@pytest.mark.parametrize("order", ["rising", "falling", "random"])
def test_scratch_stays_below_twice_what_is_kept(tmp_path, order, monkeypatch):
    task = Scored(order)
    largest = 0

    def completed(self, shard):
        nonlocal largest
        complete(self, shard)
        logs = [path.read_bytes() for path in tmp_path.glob("shard-*.log")]
        stored = sum(entry.blob_bytes for path in tmp_path.glob("shard-*") for entry in read_entries(path))
        assert sum(map(len, logs)) >= stored
        largest = max(largest, stored)

    monkeypatch.setattr("celebahq.jobs.job.SHARDS_AT_LEAST", 40)
    complete = Job._completed
    monkeypatch.setattr(Job, "_completed", completed)
    with owning_folder(tmp_path) as scratch:
        job = Job(task, scratch, keep=100)
        job.run(InProcess())
        report = job.report()
        kept = {record.entry.item for record in job.records() if record.blobs} & set(report.kept)
    assert largest <= 2 * 100 * 1000
    assert report.kept.tolist() == sorted(sorted(range(600), key=lambda i: (-task.scores[i], i))[:100])
    assert kept == set(report.kept)
    assert np.isfinite(report.scores).sum() == 600


def test_the_way_to_an_item_is_short(tmp_path):
    """From the job through its engine and a worker's loop to the task; a process more with a pool."""
    ways = []

    class Watching(Scored):
        def process(self, index):
            ways.append([frame.name for frame in traceback.extract_stack()])
            return super().process(index)

    with owning_folder(tmp_path) as scratch:
        Job(Watching("rising"), scratch).run(InProcess())
    way = ways[0][-4:]
    assert way == ["run", "run", "finish_shard", "process"]


def test_the_folder_says_what_it_holds(tmp_path):
    with owning_folder(tmp_path) as scratch:
        Job(Scored("rising"), scratch, keep=5, parameters={"resolution": 64})
        facts = json.loads((tmp_path / "job.json").read_text())
    assert facts["task"] == "scored"
    assert (facts["items"], facts["keep"], facts["resolution"]) == (600, 5, 64)
