"""The power goes at any moment: what was not forced to disk is lost or torn, in any order, and no more."""

import os
import random
import shutil

import numpy as np
import pytest
from recording_disk import Recorder, crash

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


def run_again(run_job, out, keep, shard_size):
    """Run the job; False if it was done already."""
    try:
        run_job(Twelve(), out, keep, resolution=16, shard_size=shard_size)
    except ToolError as err:
        if "exists already" in str(err):
            return False
        raise
    return True


def held(path):
    """A data set's bytes, of one file or of several by their names."""
    if path.is_file():
        return path.read_bytes()
    return {each.name: each.read_bytes() for each in path.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sync_interval_sec", "keep", "shard_size"),
    [(0.0, 4, None), (1000.0, None, None), (1000.0, 7, 1e-6)],  # the last: a file for each of three shards
)
def test_after_a_power_loss_the_same_command_makes_the_same_file(
    tmp_path, run_job, keep, shard_size, sync_interval_sec, monkeypatch
):
    monkeypatch.setattr("celebahq.jobs.job.SHARDS_AT_LEAST", 3)
    monkeypatch.setattr("celebahq.jobs.logs.SYNC_INTERVAL_SEC", sync_interval_sec)
    live = tmp_path / "live"
    live.mkdir()
    name = "x.h5" if shard_size is None else "x"
    with monkeypatch.context() as patched:
        recorder = Recorder(live, patched)
        run_job(Twelve(), live / name, keep, resolution=16, shard_size=shard_size)
    expected = held(live / name)
    rng = random.Random(0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # of the second run; it takes the time
    for number, moment in enumerate(recorder.moments):
        for _ in range(2):
            disk = tmp_path / f"disk{number}"
            crash(moment, live, disk, rng)
            if (disk / name).exists():  # it appears complete or not at all
                assert held(disk / name) == expected
            if not run_again(run_job, disk / name, keep, shard_size):
                assert f"{name}.work" not in moment.names[live]  # all but the clean-up was done
            assert held(disk / name) == expected, f"moment {number}"
            assert [path.name for path in disk.iterdir() if "partial" not in path.name] == [name], number
            shutil.rmtree(disk)
    assert len(recorder.moments) > 60
