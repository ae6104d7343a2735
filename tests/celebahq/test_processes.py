import os
import sys

import pytest
import torch

from celebahq.errors import ToolError
from celebahq.processes import World, device_of_rank, join_world


@pytest.fixture
def launched(monkeypatch):
    """As the second of three processes of torchrun on a machine with that many GPUs."""

    def pretend(gpus):
        for name, value in {
            "WORLD_SIZE": "3",
            "LOCAL_WORLD_SIZE": "3",
            "RANK": "1",
            "LOCAL_RANK": "1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
        monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)

    return pretend


def test_stdout_holds_nothing_but_what_the_processes_say(launched, monkeypatch, capfd):
    launched(0)

    def connect(*_, **__):
        os.write(1, b"connected\n")  # as PyTorch 2.10's C++ does, past Python

    monkeypatch.setattr("torch.distributed.init_process_group", connect)
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 3)
    sys.stdout.write("before\n")
    with join_world(torch.device("cpu")) as world:
        sys.stdout.write(f"{world}\n")
    assert capfd.readouterr() == (f"before\n{World(1, 3)}\n", "connected\n")


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:3", "cpu"])
def test_a_single_process_takes_the_device_it_is_told(name):
    assert device_of_rank(name) == name


def test_each_of_several_processes_takes_the_gpu_of_its_local_rank(launched):
    launched(4)
    assert device_of_rank("cuda") == device_of_rank("auto") == "cuda:1"
    assert device_of_rank("cpu") == "cpu"


def test_one_gpu_for_several_processes_is_refused(launched):
    launched(4)
    with pytest.raises(ToolError, match=r"^--device cuda:3: .*use --device cuda"):
        device_of_rank("cuda:3")


def test_more_processes_than_gpus_are_refused(launched):
    launched(1)
    with pytest.raises(ToolError, match="local rank 1: PyTorch finds 1 GPUs"):
        device_of_rank("cuda")


def test_without_gpus_auto_stays_the_cpu(launched):
    launched(0)
    assert device_of_rank("auto") == "auto"


def test_shares_are_the_whole_in_order():
    items = list(range(11))
    worlds = [World(rank, 4) for rank in range(4)]
    assert [item for world in worlds for item in world.share(items)] == items
    assert sorted(item for world in worlds for item in world.deal(11)) == items


def test_alone_nothing_is_exchanged():
    with join_world(torch.device("cpu")) as world:
        assert world == World()
        assert world.is_main
        rows = torch.arange(6).view(3, 2)
        assert world.gather_rows(rows) is rows
        assert world.sum(rows) is rows
        assert world.same("run") == "run"
        assert world.any(True, torch.device("cpu")) is True
        world.wait()
