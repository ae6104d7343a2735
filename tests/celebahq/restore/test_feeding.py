"""The process of a device: the same pixels as without it, one process for all, and none that stays behind."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from celebahq.build import _model_facts, _networks_on
from celebahq.errors import ToolError
from celebahq.options import BuildOptions, PhotoSource
from celebahq.restore.feeding import DeviceProcess, Model
from celebahq.restore.infer import load_restorer

MODELS = [Model("jpeg", 0.5), Model("sr4x")]


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


@pytest.fixture
def device(tmp_path, monkeypatch):
    """A device of this test alone, on the CPU; its process ends soon after the last has left."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    device = DeviceProcess("cpu", MODELS, idle_sec=3.0)
    yield device
    device._connection.close()
    wait_until(lambda: not sockets(tmp_path))


def sockets(folder):
    return list(folder.glob("celebahq-*/*.socket"))


def processes(folder):
    """Numbers of the device processes whose socket lies in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_text()
        except OSError:  # it has ended
            continue
        if "celebahq.restore.feeding" in command and str(folder) in command:
            found.append(int(entry.name))
    return found


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_many_workers_share_one_process_and_get_the_pixels_of_their_own_network(device, photo, tmp_path):
    expected = [model.load("cpu")(photo, (3, 4, 30, 50)) for model in MODELS]
    assert not np.array_equal(expected[0], load_restorer("jpeg")(photo, (3, 4, 30, 50)))  # half of it

    def work(_):
        mine = DeviceProcess("cpu", MODELS, idle_sec=3.0)
        return [restorer(photo, (3, 4, 30, 50)) for restorer in mine.restorers()]

    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(work, range(8)):
            for mine, theirs in zip(result, expected, strict=True):
                np.testing.assert_array_equal(mine, theirs)
    assert len(processes(tmp_path)) == 1
    sr4x = device.restorers()[1]
    assert (sr4x.name, sr4x.sha256, sr4x.scale) == ("sr4x", load_restorer("sr4x").sha256, 4)


@pytest.mark.slow
def test_one_that_was_killed_is_started_anew(device, photo, tmp_path):
    restorer = device.restorers()[0]
    expected = restorer(photo)
    os.kill(processes(tmp_path)[0], signal.SIGKILL)
    np.testing.assert_array_equal(restorer(photo), expected)


@pytest.mark.slow
def test_an_error_there_is_told_here_and_harms_nobody(device):
    with pytest.raises(RuntimeError, match="list index out of range"):
        device.run(9, np.zeros((1, 32, 32, 3), np.uint8))
    assert device.run(0, np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 32, 32, 3)


@pytest.mark.slow
def test_a_build_lets_the_networks_of_a_gpu_run_there(tmp_path, monkeypatch, photo):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("celebahq.restore.feeding.IDLE_SEC", 3.0)
    options = BuildOptions(PhotoSource(tmp_path), tmp_path / "out.h5", sr_model="none")
    here = _networks_on("cpu", options)
    assert not sockets(tmp_path)
    monkeypatch.setattr("celebahq.build._has_own_process", lambda device: True)
    there = _networks_on("cpu", options)
    assert len(processes(tmp_path)) == 1
    assert here[1] is there[1] is None
    np.testing.assert_array_equal(there[0](photo), here[0](photo))
    assert _model_facts(there[0]) == _model_facts(here[0])
    there[0]._process._connection.close()
    wait_until(lambda: not sockets(tmp_path))


def test_one_that_cannot_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ToolError, match=r"its process did not start: .*no such weight file"):
        DeviceProcess("cpu", [Model(str(tmp_path / "missing.safetensors"))])


def test_one_that_does_not_get_ready_is_ended_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("celebahq.restore.feeding.START_SEC", 0.01)  # less than Python's own start
    with pytest.raises(ToolError, match="cpu: its process did not start within 0 s"):
        DeviceProcess("cpu", MODELS)
    assert not processes(tmp_path)
    assert not sockets(tmp_path)
