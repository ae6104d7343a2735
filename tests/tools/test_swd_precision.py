import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TOOL = Path(__file__).parents[2] / "tools" / "swd_precision.py"


@pytest.mark.parametrize(("experiment", "rows"), [("errors", [7, 3]), ("corrected", [3]), ("gaussians", [3])])
def test_every_experiment_prints_its_tables(tmp_path, experiment, rows):
    sets = [tmp_path / "real.npy", tmp_path / "fake.npy"]
    for seed, path in enumerate(sets):
        np.save(path, np.random.default_rng(seed).integers(0, 256, (6, 3, 32, 32), np.uint8))
    options = ["--images", "10", "--draws", "2", "--resolution", "16", "--patches", "8"]
    command = [sys.executable, TOOL, experiment, *sets, *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    tables = [table.splitlines() for table in done.stdout.split("\n\n")]
    assert [len(lines) - 2 for lines in tables] == rows
    for lines in tables:
        assert lines[1].startswith("| --- |")
        assert len({line.count("|") for line in lines}) == 1
