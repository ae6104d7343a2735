"""Videos are whole or not there, also where the encoder does not say that it could not write."""

import subprocess
import sys

import numpy as np
import pytest
from imageio_ffmpeg import count_frames_and_secs

from trainer.use.video import write_video

FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from celebahq.errors import ToolError
from trainer.use.video import write_video

frames = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # the encoder's writes fail, as on a full disk
try:
    write_video(Path(sys.argv[1]), frames, total=40, fps=10)
except ToolError as err:
    print(err)
"""


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.mp4"
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith(f"{path}: not written: ")
    assert result.stdout.endswith("is the disk full?\n")
    assert list(tmp_path.iterdir()) == []


def test_all_frames_are_stored(tmp_path):
    frames = np.zeros((7, 32, 32, 3), np.uint8)
    write_video(tmp_path / "a.mp4", frames, total=7, fps=10)
    assert count_frames_and_secs(str(tmp_path / "a.mp4")) == (7, pytest.approx(0.7))
