"""The power goes at any moment: what was not forced to disk is lost or torn, in any order, and no more.

A recording file layer notes, whenever something is forced to disk, renamed or removed, what the disk is sure
to hold and what else was written by then. From each such moment, disks are made as a crash may leave them:
every file with its last synced bytes, with later ones, or with later ones torn or missing in the middle;
every folder with each of its later changes done or not done. The same job is then run on each.
"""

import os
import random
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from celebahq.errors import ToolError
from celebahq.jobs.task import Finished, Skipped, Task
from celebahq.pyramid import encode_image


class Twelve(Task):
    name = "twelve"

    def __len__(self):
        return 12

    def fingerprint(self):
        return {}

    def process(self, index):
        if index == 5:
            return Skipped("truncated")
        image = np.random.default_rng(index).integers(0, 256, (3, 16, 16), np.uint8)
        return Finished(encode_image(image), {"orig_idx": index}, score=float(index * 5 % 12))


class Moment(NamedTuple):
    """A tree as its processes see it, and as the disk is sure to hold it; contents by inode."""

    root_inode: int
    names: dict[Path, dict[str, int]]
    synced_names: dict[int, dict[str, int]]
    contents: dict[int, bytes]
    synced_contents: dict[int, bytes]


class Recorder:
    """Notes moments of the tree below `root`."""

    def __init__(self, root, monkeypatch):
        self.root, self.moments = root, []
        self.synced_names, self.synced_contents = {}, {}
        fsync, replace, unlink = os.fsync, os.replace, os.unlink

        def synced(descriptor):
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            self.note()
            fsync(descriptor)
            if path.is_dir():
                self.synced_names[path.stat().st_ino] = listing(path)
            elif path.exists():
                self.synced_contents[path.stat().st_ino] = path.read_bytes()
            self.note()

        def noted(change):
            def changed(*args, **kwargs):
                self.note()
                result = change(*args, **kwargs)
                self.note()
                return result

            return changed

        monkeypatch.setattr(os, "fsync", synced)
        for name, change in (("replace", replace), ("unlink", unlink), ("truncate", os.truncate)):
            monkeypatch.setattr(os, name, noted(change))

    def note(self):
        folders = [self.root, *(path for path in self.root.rglob("*") if path.is_dir())]
        names = {folder: listing(folder) for folder in folders}
        files = [folder / name for folder in folders for name in names[folder]]
        contents = {path.stat().st_ino: path.read_bytes() for path in files if path.is_file()}
        inode = self.root.stat().st_ino
        self.moments.append(
            Moment(inode, names, dict(self.synced_names), contents, dict(self.synced_contents))
        )


def listing(folder):
    return {entry.name: entry.inode() for entry in os.scandir(folder)}


def crash(moment, root, target, rng):
    """Make a disk as a power loss at this moment may leave it."""
    inodes = {folder / name: inode for folder, names in moment.names.items() for name, inode in names.items()}
    inodes[root] = moment.root_inode
    where = {inode: folder / name for folder, names in moment.names.items() for name, inode in names.items()}

    def make(inode, path):
        if where.get(inode) in moment.names:
            folder(where[inode], path)
        else:
            path.write_bytes(torn(moment, inode, rng))

    def folder(source, path):
        path.mkdir(parents=True, exist_ok=True)
        now, sure = moment.names[source], moment.synced_names.get(inodes.get(source), {})
        for name in sorted(now.keys() | sure.keys()):
            inode = rng.choice([now.get(name), sure.get(name)])
            if inode is not None:
                make(inode, path / name)

    folder(root, target)


def torn(moment, inode, rng):
    """A file's bytes: those on disk, and of what was written since, anything."""
    now, sure = moment.contents.get(inode), moment.synced_contents.get(inode, b"")
    if now is None:
        return sure
    kind = rng.randrange(4)
    if kind == 0:
        return sure
    if kind == 1:
        return now
    length = rng.randint(min(len(sure), len(now)), len(now))
    if kind == 2:
        return now[:length]
    start = rng.randint(min(len(sure), length), length)
    return now[:start] + bytes(length - start)  # the file was made longer, and its blocks not written


def run_again(run_job, out, keep):
    """Run the job; False if it was done already."""
    try:
        run_job(Twelve(), out, keep, resolution=16)
    except ToolError as err:
        if "exists already" in str(err):
            return False
        raise
    return True


@pytest.mark.slow
@pytest.mark.parametrize(("sync_interval_sec", "keep"), [(0.0, 4), (1000.0, None)])
def test_after_a_power_loss_the_same_command_makes_the_same_file(
    tmp_path, run_job, keep, sync_interval_sec, monkeypatch
):
    monkeypatch.setattr("celebahq.jobs.job.SHARDS_AT_LEAST", 3)
    monkeypatch.setattr("celebahq.jobs.logs.SYNC_INTERVAL_SEC", sync_interval_sec)
    live = tmp_path / "live"
    live.mkdir()
    with monkeypatch.context() as patched:
        recorder = Recorder(live, patched)
        run_job(Twelve(), live / "x.h5", keep, resolution=16)
    expected = (live / "x.h5").read_bytes()
    rng = random.Random(0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # of the second run; it takes the time
    for number, moment in enumerate(recorder.moments):
        for _ in range(2):
            disk = tmp_path / f"disk{number}"
            crash(moment, live, disk, rng)
            if (disk / "x.h5").exists():  # it appears complete or not at all
                assert (disk / "x.h5").read_bytes() == expected
            if not run_again(run_job, disk / "x.h5", keep):
                assert "x.h5.work" not in moment.names[live]  # all but the clean-up was done
            assert (disk / "x.h5").read_bytes() == expected, f"moment {number}"
            assert [path.name for path in disk.iterdir() if "partial" not in path.name] == ["x.h5"], number
            shutil.rmtree(disk)
    assert len(recorder.moments) > 60
