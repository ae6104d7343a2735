"""Trouble that may pass costs no image; what does not pass is told from what is wrong with an item."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from celebahq.errors import FormatError, ToolError
from celebahq.jobs.passing import may_pass
from celebahq.jobs.scratch import work_folder
from celebahq.jobs.task import Finished, Task
from celebahq.pyramid import PyramidReader, encode_image

TOY = Path(__file__).with_name("toy_job.py")
AWAY = FileNotFoundError(errno.ENOENT, "No such file or directory", "/a/disk/that/went/photo.jpg")
pytestmark = pytest.mark.usefixtures("no_waits")


class Troubled(Task):
    """Twenty items; `trouble(item, tries so far)` gives the error that an item meets, or None."""

    name = "troubled"

    def __init__(self, trouble=lambda item, tries: None):
        self.trouble, self.tries = trouble, [0] * 20

    def __len__(self):
        return 20

    def fingerprint(self):
        return {}

    def process(self, index):
        self.tries[index] += 1
        if error := self.trouble(index, self.tries[index]):
            raise error
        image = np.random.default_rng(index).integers(0, 256, (3, 32, 32), np.uint8)
        return Finished(encode_image(image), {"orig_idx": index}, score=float(index))


@pytest.fixture
def undisturbed(tmp_path, run_job):
    run_job(Troubled(), tmp_path / "undisturbed.h5")
    return (tmp_path / "undisturbed.h5").read_bytes()


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (AWAY, True),
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (OSError(errno.EMFILE, "Too many open files"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), True),
        (RuntimeError("shapes do not match"), False),
        (PermissionError(errno.EACCES, "Permission denied", "a.jpg"), False),
        (OSError("image file is truncated"), False),
        (FormatError("a.jpg: an empty file"), False),
        (ZeroDivisionError("a bug"), False),
    ],
)
def test_errors_of_the_surroundings_are_told_from_the_items_own(error, passes):
    assert may_pass(error) is passes
    wrapped = ToolError("a.jpg: cannot be read")
    wrapped.__cause__ = error
    assert may_pass(wrapped) is passes


def test_a_missing_file_is_the_items_own_trouble_if_others_are_there(tmp_path):
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "gone.jpg"))
    assert may_pass(gone)  # an empty folder: nothing is mounted there
    (tmp_path / "here.jpg").touch()
    assert not may_pass(gone)


def test_what_passes_leaves_no_trace(tmp_path, run_job, undisturbed):
    task = Troubled(lambda item, tries: AWAY if tries <= item % 3 else None)
    report = run_job(task, tmp_path / "x.h5")
    assert not report.skipped
    assert max(task.tries) == 3
    assert (tmp_path / "x.h5").read_bytes() == undisturbed


def test_one_item_that_never_fits_into_memory_is_left_out_in_the_end(tmp_path, run_job):
    task = Troubled(lambda item, tries: MemoryError() if item == 7 else None)
    report = run_job(task, tmp_path / "x.h5")
    assert report.skipped == {7: "out of memory"}
    assert task.tries[7] == 4
    assert sum(task.tries) == 23


def test_when_much_fails_the_job_stops_and_goes_on_when_all_is_well(tmp_path, run_job, undisturbed):
    out = tmp_path / "x.h5"
    sick = Troubled(lambda item, tries: AWAY if item % 2 else None)
    with pytest.raises(ToolError, match=r"10 of 20 items cannot be done now \(item 1: /a/disk.*run the same"):
        run_job(sick, out)
    assert not out.exists()
    well = Troubled()
    assert not run_job(well, out).skipped
    assert sum(well.tries) == 10
    assert out.read_bytes() == undisturbed


def test_on_request_the_job_ends_without_what_fails(tmp_path, run_job):
    report = run_job(
        Troubled(lambda item, tries: AWAY if item % 2 else None), tmp_path / "x.h5", max_skip_rate=0.5
    )
    assert len(report.kept) == len(report.skipped) == 10


def test_the_job_stops_when_more_items_are_bad_than_may(tmp_path, run_job):
    out = tmp_path / "x.h5"
    bad = Troubled(lambda item, tries: FormatError("truncated") if item >= 10 else None)
    with pytest.raises(ToolError, match=r"5 of 20 items failed, the last for: truncated; .* 0\.2 allows"):
        run_job(bad, out, max_skip_rate=0.2)
    assert sum(bad.tries) == 15
    with pytest.raises(ToolError, match=r"more than --max-skip-rate 0\.2"):
        run_job(bad, out, max_skip_rate=0.2)
    assert len(run_job(bad, out).skipped) == 10  # any share, unless told
    assert sum(bad.tries) == 20


def test_what_was_left_out_is_tried_again_on_request(tmp_path, run_job, undisturbed):
    out = tmp_path / "x.h5"
    bad = Troubled(lambda item, tries: FormatError("truncated") if item in (3, 4, 19) else None)
    with pytest.raises(ToolError, match="truncated"):
        run_job(bad, out, max_skip_rate=0.1)
    mended = Troubled()
    assert not run_job(mended, out, retry_skipped=True).skipped
    assert [item for item in range(20) if mended.tries[item]] == [3, 4, 19]
    assert out.read_bytes() == undisturbed


@pytest.mark.parametrize("keep", [None, 5])
def test_a_log_that_was_deleted_is_made_anew(tmp_path, run_job, keep, monkeypatch):
    """The remedy that is given for damage; also where others had been dropped for the images in it."""
    monkeypatch.setattr("celebahq.jobs.job.SHARDS_AT_LEAST", 4)
    whole, out = tmp_path / "whole.h5", tmp_path / "x.h5"
    run_job(Troubled(), whole, keep)
    stop_at_the_end(Troubled(), out, keep, run_job, monkeypatch)
    last = work_folder(out) / "shard-00003.log"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(FormatError, match=r"shard-00003\.log: damaged .* delete it and run the same command"):
        run_job(Troubled(), out, keep)
    last.unlink()
    run_job(Troubled(), out, keep)
    assert out.read_bytes() == whole.read_bytes()


def test_images_dropped_for_others_that_are_lost_come_back(tmp_path, run_job, monkeypatch):
    monkeypatch.setattr("celebahq.jobs.job.SHARDS_AT_LEAST", 4)
    out = tmp_path / "x.h5"
    stop_at_the_end(Troubled(), out, 5, run_job, monkeypatch)
    (work_folder(out) / "shard-00003.log").unlink()
    report = run_job(Troubled(lambda item, tries: FormatError("gone bad") if item >= 15 else None), out, 5)
    assert report.kept.tolist() == [10, 11, 12, 13, 14]
    assert PyramidReader(out).meta("orig_idx").tolist() == report.kept.tolist()


def stop_at_the_end(task, out, keep, run_job, monkeypatch):
    """All items are done, and nothing is written."""

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("celebahq.jobs.wanted.PyramidWriter", interrupted)
        run_job(task, out, keep)


@pytest.mark.slow
def test_a_folder_that_is_away_for_a_second_costs_nothing(tmp_path):
    """Worker processes, and the times that users have."""
    photos, out = tmp_path / "photos", tmp_path / "x.h5"
    photos.mkdir()
    (photos / "photo.jpg").write_bytes(b"photo")

    def go_away():
        while not list(work_folder(out).glob("shard-*.log")):
            time.sleep(0.01)
        os.rename(photos, tmp_path / "away")
        time.sleep(1)
        os.rename(tmp_path / "away", photos)

    trouble = threading.Thread(target=go_away)
    trouble.start()
    command = [sys.executable, TOY, "run", out, "--needs", photos, "--delay", "0.02", "--workers", "2"]
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
    trouble.join()
    assert result.returncode == 0, result.stderr
    assert "cannot be done now" in result.stderr
    assert "for reasons that may pass" in result.stderr
    assert len(PyramidReader(out)) == 54  # those of the toy that are never skipped
