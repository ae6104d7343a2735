"""Training on a GPU, without one: every tensor is on the device, and the device is waited for once a step."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_cuda import SUPPORTED

NEWEST = (2, 14)  # release of PyTorch whose inner tables `fake_cuda` is known to fit; the oldest is the floor
ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(not SUPPORTED, reason="replaces functions of PyTorch for Linux on x86-64")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    folders = [ROOT, ROOT / "tools", ROOT / "tests" / "trainer"]
    script = Path(__file__).parent / "train_on_fake_cuda.py"
    program = f"import sys; sys.path[:0] = {list(map(str, folders))!r}\n" + script.read_text()
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    release = tuple(map(int, torch.__version__.split(".")[:2]))
    if result.returncode and release > NEWEST:
        pytest.skip(f"PyTorch {torch.__version__} may be otherwise inside: status {result.returncode}")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_all_presets_keep_their_tensors_on_the_device(found):
    assert len(found["presets"]) >= 15
    assert {name: error for name, error in found["presets"].items() if error} == {}


def test_a_tensor_elsewhere_is_noticed(found):
    planted = found["planted"]
    assert "on the same device" in planted or "two different devices" in planted  # by PyTorch's version


def test_a_step_waits_for_the_device_once(found):
    # Of two D steps before one of G each waits once; with noise, D's loss decides about the next step's.
    waits = {"plain": 1, "labels, augmented": 1, "joint, bf16": 1, "two D steps": 1, "noise": 3}
    assert found["waits"] == waits
