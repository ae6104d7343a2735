"""A run that is killed at any moment and resumed ends in the same bits as an uninterrupted one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_killed_runs_end_in_the_same_bits(tmp_path):
    script = Path(__file__).parent / "kill_and_resume.py"
    paths = [str(script.parents[1]), os.environ.get("PYTHONPATH", "")]  # what these tests share
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    result = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    results = json.loads(result.stdout)
    assert len(results) == 6
    assert all(results.values()), results
