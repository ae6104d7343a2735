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
