"""One run through all that may happen to it, and what its history says of that afterwards."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file
from test_steering import run_out_of_memory
from tiny_runs import resume, start, tiny_config, write_pyramid

from celebahq.files import read_jsonl
from trainer.storage.checkpoint import states

TWO_PROCESSES = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENOUGH_SEC = 300  # for two processes to start and take some steps, on a machine that has much else to do


def interrupted_at(resolution, run, *arguments):
    """`trainer resume` on two processes; USR1 to the first of them after a tick at a resolution."""
    command = [*TWO_PROCESSES, "-m", "trainer", "resume", str(run), "--device", "cpu", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        end = time.monotonic() + ENOUGH_SEC
        while read_jsonl(run / "stats.jsonl")[-1]["resolution"] != resolution:
            assert process.poll() is None, process.stderr.read()[-3000:]
            assert time.monotonic() < end
            time.sleep(0.05)
        os.kill(json.loads((run / "lock").read_text())["pid"], signal.SIGUSR1)
        said = process.communicate(timeout=ENOUGH_SEC)[1]
    assert "is saved; `trainer resume RUN` continues" in said


@pytest.mark.slow
def test_a_run_is_cut_lengthened_moved_interrupted_and_moved_back(tmp_path, monkeypatch):
    data = write_pyramid(tmp_path / "data.h5", resolution=32)
    with monkeypatch.context() as patched:
        run_out_of_memory(patched, "penalty", 4, torch.OutOfMemoryError("CUDA out of memory"))
        run = start(tiny_config(), data, tmp_path)
    grown = load_file(states(run)[-1])

    # Far more than it will be let: with USR1 it ends.
    changes = ("resolution=32", "train.total_kimg=1000", "schedule.learning_rate=0.0005")
    interrupted_at(32, run, *(part for change in changes for part in ("--set", change)))
    nimg = int(states(run)[-1].stem.rpartition("-")[2])
    resume(run, f"train.total_kimg={(nimg + 48) / 1000}")

    records = read_jsonl(run / "history.jsonl")
    assert [(r["event"], r.get("processes")) for r in records] == [
        ("begun", 1),
        *[("out of memory", None)] * 3,
        ("resumed", 2),
        ("resumed", 1),
    ]
    begun, *halved, moved, back = records
    assert [r["changes"] for r in halved] == [
        {f"runtime.minibatch_gpu.{side}": [8, 4]} for side in (4, 8, 16)
    ]
    assert moved["changes"] == {
        **{f"{part}.resolution": [16, 32] for part in ("generator", "discriminator", "schedule")},
        "schedule.learning_rate": [0.001, 0.0005],
        "train.total_kimg": [0.32, 1000.0],
        "runtime.minibatch_gpu.32": [None, 4],
    }
    assert back["changes"].keys() >= {"train.total_kimg"}
    assert [r["kimg"] for r in (begun, moved, back)] == [0.0, 0.32, nimg / 1000]

    last = load_file(states(run)[-1])
    assert int(states(run)[-1].stem.rpartition("-")[2]) == nimg + 48
    assert last.keys() > grown.keys()
    assert all(tensor.isfinite().all() for tensor in last.values())
    shown = [record["nimg"] for record in read_jsonl(run / "stats.jsonl")]
    assert shown == sorted(set(shown))
    assert shown[-1] == nimg + 48
