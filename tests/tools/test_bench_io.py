import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "bench_io.py"


@pytest.mark.slow
def test_the_benchmark_runs():
    command = [sys.executable, str(TOOL), "--images", "2", "--rounds", "1", "--json"]
    result = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert set(result["ratios"]) == {"one thread / h5py", "two threads / one", "uncompressed / preadv"}
