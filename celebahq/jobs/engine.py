"""Who works on the shards of a job: this process, a pool of processes, or a cluster."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from celebahq.jobs.memory import BARE_WORKER_BYTES, affordable_workers
from celebahq.jobs.shards import Assignment, Entry, Setback, Shard
from celebahq.jobs.work import Work, finish_shard

News = Entry | Setback | Shard
"""An item was recorded, or could not be; a shard was gone through. An entry may be told twice or never."""


class Engine(ABC):
    """Whoever works on shards.

    What is finished is on disk the moment it is recorded, so an engine may lose processes, or itself be lost,
    at any moment.
    """

    @abstractmethod
    def run(self, work: Work, assignments: Iterator[Assignment]) -> Iterator[News]:
        """Go through all shards, each fetched when somebody is free for it; yields what happens."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """How many workers there are, and where; for `--dry-run`."""

    def ask(self, question: Callable[[], str]) -> set[str]:
        """The answers of the workers to a question, a picklable function; on one machine there is one."""
        return {question()}


class InProcess(Engine):
    """One shard after the other in this process."""

    def run(self, work: Work, assignments: Iterator[Assignment]) -> Iterator[News]:
        """Go through all shards."""
        work = replace(work, item_limit_sec=None)  # this process is not to be killed
        work.task.start()
        for assignment in assignments:
            yield from finish_shard(work, assignment)
            yield assignment.shard

    def facts(self) -> dict[str, Any]:
        """One worker."""
        return {"workers": 1, "cluster": None}


def choose_engine(
    workers: int | None,
    cluster: str | None = None,
    worker_bytes: int = BARE_WORKER_BYTES,
    *,
    per_processor: int = 1,
) -> Engine:
    """The engine for `--workers` and `--cluster`; the processors of this machine unless told.

    Args:
        worker_bytes: What a worker takes; there are no more than the machine has memory for.
        per_processor: Workers to a processor, where they wait for something else.
    """
    if cluster:
        from celebahq.jobs.cluster import DaskCluster

        return DaskCluster(cluster)
    from celebahq.jobs.pool import ProcessPool

    return ProcessPool(workers or affordable_workers(worker_bytes, per_processor))
