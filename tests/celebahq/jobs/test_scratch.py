"""One run at a time for one output, on any file system with locks; nothing is left behind."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from celebahq.cli import main
from celebahq.errors import ToolError
from celebahq.jobs import locks
from celebahq.jobs.scratch import MERGING, require_new_output, scratch_for, work_folder

TOY = Path(__file__).with_name("toy_job.py")


def run_toy(out, *options, **environment):
    command = [sys.executable, str(TOY), "run", str(out), *map(str, options)]
    environment = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


@pytest.mark.parametrize("command", [["build", "--photos"], ["import", "folder"]])
def test_a_second_job_for_an_output_is_refused_from_the_first_moment_on(tmp_path, command, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE_SEC", 0.1)
    (tmp_path / "photos").mkdir()
    with scratch_for(tmp_path / "x.h5"):  # whatever it is at
        result = CliRunner().invoke(main, [*command, str(tmp_path / "photos"), "-o", str(tmp_path / "x.h5")])
    assert result.exit_code == 1
    assert f"x.h5.work: another run is at work here (process {os.getpid()} on" in result.stderr


def test_who_waited_until_another_run_was_done_does_not_begin_anew(tmp_path):
    out, failures, waiting = tmp_path / "x.h5", [], threading.Event()

    def second():
        waiting.set()
        try:
            with scratch_for(out):
                pass
        except ToolError as err:
            failures.append(str(err))

    with scratch_for(out):
        thread = threading.Thread(target=second)
        thread.start()
        waiting.wait()
        threading.Event().wait(0.3)  # it has the old lock file open now, and is patient
        out.touch()
    thread.join()
    assert failures == [f"{out}: exists already; choose another name, or remove it"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def test_an_error_before_anything_was_done_leaves_no_scratch(tmp_path):
    with pytest.raises(ToolError), scratch_for(tmp_path / "new" / "x.h5") as scratch:
        scratch.stage("index")
        raise ToolError("no photos")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_build_without_faces_leaves_nothing(tmp_path):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.linear_gradient("L").save(tmp_path / "photos" / "sky.png")
    options = ["--jpeg-model", "none", "--sr-model", "none", "--workers", "1"]
    arguments = ["build", "--photos", str(tmp_path / "photos"), "-o", str(tmp_path / "x.h5"), *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "no face to use" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_what_a_kill_in_the_last_clean_up_left_is_removed(tmp_path):
    out = tmp_path / "x.h5"
    out.touch()
    trash = tmp_path / "x.h5.work.trash"
    trash.mkdir()
    (trash / "shard-00000.log").touch()
    with pytest.raises(ToolError, match="exists already"):
        require_new_output(out)
    assert not trash.exists()


def test_a_file_that_was_not_reported_on_is_welcome(tmp_path):
    out = tmp_path / "x.h5"
    out.touch()
    work_folder(out).mkdir()
    (work_folder(out) / MERGING).touch()
    with scratch_for(out):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("a" * 240 + ".h5", r"its name is 14 bytes too long"),
        (os.fsdecode(b"\xff.h5"), "its name is not UTF-8"),
    ],
)
def test_names_that_cannot_be_used_are_refused_before_the_work(tmp_path, name, complaint):
    (tmp_path / "photos").mkdir()
    for command in (["build", "--photos"], ["import", "folder"]):
        result = CliRunner().invoke(main, [*command, str(tmp_path / "photos"), "-o", str(tmp_path / name)])
        assert result.exit_code == 1
        assert complaint in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def none(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(ToolError, match=r"x\.h5\.work: this file system has no locks .* on NFSv4"):
        scratch_for(tmp_path / "x.h5").__enter__()


def test_a_worker_of_an_earlier_run_is_waited_for_and_then_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE_SEC", 0.1)
    workers = tmp_path / "workers.lock"
    with locks.owning(tmp_path / "lock") as old:
        pass
    worker = (
        "import sys, time; from pathlib import Path; from celebahq.jobs.locks import working_on\n"
        "with working_on(Path(sys.argv[1]), 3): print('at it', flush=True); time.sleep(1.0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", worker, workers], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        locks.wait_for_workers(workers)
        assert process.wait(timeout=10) == 0
    with (
        locks.owning(tmp_path / "lock"),
        pytest.raises(ToolError, match="has taken this job"),
    ):
        locks.require_owner(tmp_path / "lock", old)


def test_a_shard_is_locked_against_other_processes_and_threads_of_the_same(tmp_path):
    held = []

    def work():
        with locks.working_on(tmp_path / "workers.lock", 3):
            held.append(1)
            threading.Event().wait(0.05)
            held.append(-1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == [1, -1] * 4


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_SETLK"), reason="needs Linux's locks of open files")
def test_a_job_on_nfs_is_a_job(tmp_path):
    """Each process sees locks and names as an NFS client of its own does; see nfs.py."""
    here, nfs = tmp_path / "here.h5", tmp_path / "nfs.h5"
    assert run_toy(here, "--workers", 0, "--keep", 20).returncode == 0
    killed = run_toy(nfs, "--keep", 20, "--die-in-merge", 3, "--look-up-first", TOY_ON_NFS="1")
    assert killed.returncode == -9, killed.stderr
    result = run_toy(nfs, "--keep", 20, TOY_ON_NFS="1")
    assert result.returncode == 0, result.stderr
    assert nfs.read_bytes() == here.read_bytes()


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_SETLK"), reason="needs Linux's locks of open files")
def test_a_second_run_on_nfs_is_refused(tmp_path):
    with subprocess.Popen(
        [sys.executable, TOY, "run", tmp_path / "x.h5", "--delay", "0.1", "--workers", "1"],
        env={**os.environ, "TOY_ON_NFS": "1"},
        stderr=subprocess.PIPE,
    ) as first:
        while not list(tmp_path.glob("x.h5.work/shard-*")):
            assert first.poll() is None, first.stderr.read()
        second = run_toy(tmp_path / "x.h5", TOY_ON_NFS="1")
        first.kill()
    assert second.returncode == 1
    assert "another run is at work here" in second.stderr
