"""A dask cluster that the tests start: the same bytes whatever happens to it, or one line that tells."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

import celebahq
from celebahq.build import MIXED, _common_arithmetic
from celebahq.errors import MissingExtraError, ToolError
from celebahq.jobs.cluster import DaskCluster, _examine, _Run, _start, code_digest
from celebahq.jobs.engine import InProcess
from celebahq.jobs.options import JobOptions
from celebahq.jobs.scratch import owning_folder, work_folder
from celebahq.jobs.shards import Assignment, Shard
from celebahq.jobs.task import Task
from celebahq.jobs.work import Work
from celebahq.options import BuildOptions, PhotoSource

TOY = Path(__file__).with_name("toy_job.py")
DASK = Path(sys.executable).with_name("dask")


class Cluster:
    """A scheduler and its workers, as processes of this machine."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.log = (folder / "log").open("w")
        self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", "0")
        file = folder / "scheduler.json"
        wait_until(file.exists, self.text)
        self.address = json.loads(file.read_text())["address"]

    def start(self, kind, *options, **environment):
        command = [DASK, kind, "--scheduler-file", self.folder / "scheduler.json", "--no-dashboard", *options]
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=self.log,
            stderr=self.log,
            cwd=self.folder,
            start_new_session=True,
            env={**os.environ, **environment},
        )
        self.processes.append(process)
        return process

    def worker(self, *options, **environment):
        return self.start("worker", *(options or ("--nthreads", "1")), **environment)

    def workers(self):
        return DaskCluster(self.address).facts()["workers"]

    def text(self):
        return (self.folder / "log").read_text()

    def close(self):
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.log.close()


def wait_until(condition, explain=str, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, explain()
        time.sleep(0.1)


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    yield cluster
    cluster.close()


def command(out, *options):
    return [sys.executable, str(TOY), "run", str(out), *map(str, options)]


def run(out, *options):
    return subprocess.run(command(out, *options), capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The bytes of a job in one process."""
    out = tmp_path_factory.mktemp("here") / "toy.h5"
    assert run(out, "--workers", 0, "--keep", 20).returncode == 0
    return out.read_bytes()


@pytest.mark.slow
def test_unlike_workers_make_the_same_bytes_and_get_the_task_once(tmp_path, cluster, here):
    """One with a single thread, one with many, and one with other code, which gets no work."""
    other = tmp_path / "other"
    shutil.copytree(
        Path(celebahq.__file__).parent, other / "celebahq", ignore=shutil.ignore_patterns("*.pyc")
    )
    (other / "celebahq" / "threads.py").write_text(
        (other / "celebahq" / "threads.py").read_text() + "\n# older"
    )
    cluster.worker()
    cluster.worker("--nthreads", "4")
    cluster.worker("--nthreads", "1", PYTHONPATH=str(other))
    wait_until(lambda: cluster.workers() == 3, cluster.text)
    result = run(tmp_path / "toy.h5", "--cluster", cluster.address, "--keep", 20)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "toy.h5").read_bytes() == here
    assert result.stderr.count("gets no work: it runs other code of the toolkit: install the same") == 1
    assert int(re.search(r"sent (\d+) times", result.stderr)[1]) <= 2  # pickled two ways, once, for 60 shards


@pytest.mark.slow
def test_an_import_from_here_is_understood_there(tmp_path, cluster, writers, monkeypatch):
    """Paths of a person, who stands in another folder than the workers."""
    cluster.worker()
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    writers["folder"](Path("pictures"))
    command = [sys.executable, "-m", "celebahq", "import", "folder", "pictures", "--folder-labels"]
    for out, options in {"there.h5": ["--cluster", cluster.address], "here.h5": ["--workers", "1"]}.items():
        result = subprocess.run([*command, *options, "-o", out], capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
    assert Path("there.h5").read_bytes() == Path("here.h5").read_bytes()


@pytest.mark.slow
def test_an_item_that_kills_its_workers_is_skipped_with_that_reason(tmp_path, cluster):
    cluster.worker("--nworkers", "2", "--nthreads", "1")
    out, calls = tmp_path / "toy.h5", tmp_path / "calls"
    result = run(out, "--deadly", 13, "--cluster", cluster.address, "--calls", calls)
    assert result.returncode == 0, result.stderr
    assert "7 skipped" in result.stderr  # six are never usable
    assert calls.read_text().split().count("13") == 5


@pytest.mark.slow
def test_a_scheduler_that_dies_is_one_line_and_the_job_goes_on_with_another(tmp_path, cluster, here):
    cluster.worker("--nworkers", "2", "--nthreads", "1")
    out = tmp_path / "toy.h5"
    options = ("--cluster", cluster.address, "--keep", 20)
    with subprocess.Popen(
        command(out, *options, "--delay", 0.2), stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: len(list(work_folder(out).glob("shard-*.log"))) > 5, cluster.text)
        cluster.scheduler.kill()
        errors = process.communicate(timeout=300)[1]
    assert process.returncode == 1
    assert f"Error: --cluster {cluster.address}: the scheduler is gone; start it" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    result = run(out, "--keep", 20)
    assert result.returncode == 0, result.stderr
    assert "were done before; going on" in result.stderr
    assert out.read_bytes() == here


@pytest.mark.slow
def test_without_workers_the_command_says_how_to_start_some(tmp_path, cluster):
    result = run(tmp_path / "toy.h5", "--cluster", cluster.address, "--patience", 1)
    assert result.returncode == 1
    said = f"--cluster {cluster.address}: it has no workers; start some (dask worker {cluster.address} --nth"
    assert said in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_workers_that_come_late_and_workers_that_go_do_not_show(tmp_path, cluster, here):
    out, calls = tmp_path / "toy.h5", tmp_path / "calls"
    first = cluster.worker()

    def trouble():
        wait_until(lambda: len(list(work_folder(out).glob("shard-*.log"))) > 5, cluster.text)
        cluster.worker()  # which gets the task from the first
        wait_until(lambda: len(set(calls.read_text().split())) > 20, cluster.text)
        os.killpg(first.pid, signal.SIGKILL)

    thread = threading.Thread(target=trouble)
    thread.start()
    result = run(out, "--cluster", cluster.address, "--keep", 20, "--delay", 1, "--calls", calls)
    thread.join()
    assert result.returncode == 0, result.stderr
    assert out.read_bytes() == here


def test_when_the_tasks_data_are_lost_no_worker_counts_as_examined():
    """Else one whose examination was on its way would be given work without the task."""
    running = SimpleNamespace(status="running")
    at_work = _Run(DaskCluster("tcp://a:1"), running, None, iter([]))
    at_work.task, at_work.fit, at_work.examined = "a future", ["tcp://b:1"], {"tcp://c:1": ("a future", 0.0)}
    assignment = Assignment(Shard(0, 0, 1))
    at_work._give_back(assignment, SimpleNamespace(status="cancelled"))
    assert (at_work.task, at_work.fit, at_work.examined) == (None, [], {})
    assert list(at_work.given_back) == [assignment]


def test_a_cluster_that_does_not_answer_is_named(tmp_path):
    result = run(tmp_path / "toy.h5", "--cluster", "tcp://127.0.0.1:9")
    assert result.returncode == 1
    assert "--cluster tcp://127.0.0.1:9: no scheduler answers there" in result.stderr
    assert "Traceback" not in result.stderr
    with pytest.raises(ToolError, match="no scheduler answers there"):
        DaskCluster("tcp://127.0.0.1:9").facts()


def test_a_cluster_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        MissingExtraError, match=r"--cluster needs the package 'distributed'.*\[distributed\]"
    ):
        list(DaskCluster("tcp://nowhere:1").run(None, iter([])))


class Picky(Task):
    """Starts where `reason` is None."""

    name = "picky"

    def __init__(self, reason=None):
        self.reason, self.started = reason, 0

    def __len__(self):
        return 1

    def fingerprint(self):
        return {}

    def start(self):
        self.started += 1
        if self.reason:
            raise ToolError(self.reason)

    def process(self, index):
        raise NotImplementedError


def test_a_worker_is_examined_before_it_gets_work(tmp_path):
    with owning_folder(tmp_path / "x.h5.work") as scratch:
        work = Work(Picky(), scratch, "job")
        assert _examine(work) == (code_digest(), None)
        assert _start(work) is _start(work)  # what it loads, it loads once
        assert (_start(work).task.started, work.task.started) == (1, 0)
        refused = _examine(Work(Picky("sr4x.safetensors: the weights have changed"), scratch, "job"))
        assert refused.refusal == "cannot begin: sr4x.safetensors: the weights have changed"
    shutil.rmtree(tmp_path / "x.h5.work")
    assert "does not see" in _examine(work).refusal


class Machines(InProcess):
    """Workers on machines that compute differently."""

    def __init__(self, *answers):
        self.answers = set(answers)

    def ask(self, question):
        return self.answers


def test_machines_that_compute_differently_are_refused_unless_that_is_accepted(tmp_path):
    options = partial(BuildOptions, PhotoSource(tmp_path), tmp_path / "x.h5")
    unlike = Machines("float32 on cpu", "bfloat16 on cuda")
    with pytest.raises(ToolError, match=r"in bfloat16 on cuda and in float32 on cpu, .*--mixed-hardware"):
        _common_arithmetic(options(job=JobOptions(cluster="tcp://a:1")), unlike)
    assert _common_arithmetic(options(job=JobOptions(mixed_hardware=True)), unlike) == MIXED
    assert _common_arithmetic(options(), Machines("float32 on cpu")) == "float32 on cpu"
    assert _common_arithmetic(options(jpeg_model="none", sr_model="none"), unlike) is None
