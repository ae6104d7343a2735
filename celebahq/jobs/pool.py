"""Worker processes on this machine."""

import multiprocessing.connection
import pickle
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from celebahq.errors import ToolError
from celebahq.jobs.attempts import MAX_DEATHS
from celebahq.jobs.engine import Engine, News
from celebahq.jobs.shards import Assignment, Shard
from celebahq.jobs.work import Work
from celebahq.jobs.worker import Failure, Ready, Worker

GRACE_SEC = 5.0
"""A worker ends itself after an item's time; one that is stopped cannot, and is ended so much later."""


class ProcessPool(Engine):
    """Worker processes on this machine.

    A worker that dies is replaced and its shard goes on after the last record. Workers end when the
    process that started them does, however that happens.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def __str__(self) -> str:
        return f"{self.workers} processes" if self.workers > 1 else "1 process"

    def run(self, work: Work, assignments: Iterator[Assignment]) -> Iterator[News]:
        """Go through all shards."""
        payload = pickle.dumps(work)
        given_back: deque[Assignment] = deque()
        workers: dict[Connection, Worker] = {}
        failed_starts = 0

        def next_assignment() -> Assignment | None:
            return given_back.popleft() if given_back else next(assignments, None)

        try:
            while True:
                while len(workers) < self.workers and (assignment := next_assignment()):
                    taken = {worker.number for worker in workers.values()}
                    number = next(number for number in range(self.workers) if number not in taken)
                    worker = Worker(payload, assignment, number)
                    workers[worker.pipe] = worker
                if not workers:
                    return
                for worker in _who_has_news(workers, work.item_limit_sec):
                    news = worker.receive()
                    if isinstance(news, Failure):
                        raise news.error()
                    if isinstance(news, Ready):
                        failed_starts = 0
                    elif news is not None:
                        yield news
                    if news is None:  # it died
                        given_back.append(worker.assignment)
                        failed_starts += not worker.ready
                        _require_starts(work, failed_starts)
                    elif isinstance(news, Shard) and (assignment := next_assignment()):
                        worker.take(assignment)
                        continue
                    if news is None or isinstance(news, Shard):
                        del workers[worker.pipe]
                        worker.end()
        finally:
            for worker in workers.values():
                worker.end()

    def facts(self) -> dict[str, Any]:
        """The number of processes."""
        return {"workers": self.workers, "cluster": None}


def _who_has_news(workers: dict[Connection, Worker], limit_sec: float | None) -> list[Worker]:
    """Wait for a message or a death, and end workers that say nothing for longer than an item may take."""
    patience = None if limit_sec is None else limit_sec + GRACE_SEC
    ready = multiprocessing.connection.wait(list(workers), patience)
    now = time.monotonic()
    for worker in workers.values():
        if patience is not None and now - worker.heard_at > patience and worker.pipe not in ready:
            worker.process.kill()
    return [workers[pipe] for pipe in ready if isinstance(pipe, Connection)]


def _require_starts(work: Work, failed_starts: int) -> None:
    if failed_starts == MAX_DEATHS:
        raise ToolError(
            work.task.name,
            f"{MAX_DEATHS} worker processes in a row died while they started "
            "(out of memory?); try fewer --workers",
        )
