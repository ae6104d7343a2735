"""Two processes see the same totals as one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from test_steps import config_with, gradients, scaled
from tiny_runs import write_pyramid
from torch.testing import assert_close

from celebahq.files import read_jsonl


@pytest.mark.slow
def test_two_gloo_processes_have_the_gradients_of_one(tmp_path):
    data = write_pyramid(tmp_path / "data.h5")
    script = Path(__file__).parent / "two_processes.py"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    paths = [str(script.parents[1]), os.environ.get("PYTHONPATH", "")]  # what these tests share
    result = subprocess.run(
        [*launcher, script, tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]

    found = load_file(tmp_path / "gradients.safetensors")
    config = config_with(8)
    expected = gradients(config, scaled(config), data)
    assert {name for name in found if "." in name} == expected.keys()
    for name, gradient in expected.items():
        assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)

    records = read_jsonl(tmp_path / "runs" / "00000-tiny" / "stats.jsonl")
    assert [record["nimg"] for record in records] == [48, 96, 104]
    assert result.stderr.count("tick 1 ") == 1  # only one of them reports
