"""How worker processes are started."""

import multiprocessing
import os

from celebahq.jobs import worker
from celebahq.jobs.shards import Assignment, Shard


def test_workers_are_started_with_one_thread_each_and_the_command_keeps_its_own(monkeypatch):
    """NumPy's BLAS reads these when it is loaded, which a worker does before its first line of ours runs."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    seen = []

    class Process:
        def __init__(self, **kwargs):
            pass

        def start(self):
            seen.append({name: os.environ.get(name) for name in worker.ONE_THREAD})

    context = type("Context", (), {"Process": Process, "Pipe": multiprocessing.Pipe})
    monkeypatch.setattr(worker.multiprocessing, "get_context", lambda method: context)
    worker.Worker(b"", Assignment(Shard(0, 0, 1))).pipe.close()
    assert seen == [worker.ONE_THREAD]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "OPENBLAS_NUM_THREADS" not in os.environ
