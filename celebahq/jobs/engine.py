"""Who works on the shards of a job: this process, a pool of processes, or a cluster.

An engine has one method, `run(work, shards, board)`. It lets `work.finish` do every shard somewhere,
tells the board what was recorded, and returns when all are complete. What is finished is on disk the
moment it is recorded, so an engine may lose processes, or itself be lost, at any moment.
"""

import multiprocessing.connection
import pickle
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol, Self

from celebahq.errors import MissingExtraError, ToolError
from celebahq.jobs.shards import Entry, Rank, Shard, ShardLog, Skipped, read_entries
from celebahq.jobs.worker import Failure, Work, Worker, use_one_thread
from celebahq.threads import processors

MAX_DEATHS = 5  # of worker processes at one item, or at their start, before it is given up


class Board(Protocol):
    """Where an engine reports to. An entry may be reported twice; it counts once."""

    def floor(self) -> Rank | None:
        """The worst place that still enters the result, when known."""

    def recorded(self, entry: Entry) -> None:
        """A record was written."""

    def completed(self, shard: Shard) -> None:
        """A shard's log is complete."""


class Engine(Protocol):
    """Whoever works on shards."""

    def run(self, work: Work, shards: Sequence[Shard], board: Board) -> None:
        """Complete `shards`."""

    def facts(self) -> dict[str, Any]:
        """How many workers there are, and where; for `--dry-run`."""


class InProcess:
    """One shard after the other in this process."""

    def run(self, work: Work, shards: Sequence[Shard], board: Board) -> None:
        """Complete `shards`."""
        work.task.start()
        for shard in shards:
            work.finish(shard, board.floor(), board.recorded)
            board.completed(shard)

    def facts(self) -> dict[str, Any]:
        """One worker."""
        return {"workers": 1, "cluster": None}


class ProcessPool:
    """Worker processes on this machine.

    A worker that dies is replaced and its shard goes on after the last record. Workers end when the
    process that started them does, however that happens. An item at which `MAX_DEATHS` workers died is
    skipped with that reason.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def __str__(self) -> str:
        return f"{self.workers} processes" if self.workers > 1 else "1 process"

    def run(self, work: Work, shards: Sequence[Shard], board: Board) -> None:
        """Complete `shards`."""
        with _Crew(work, shards, board) as crew:
            while crew.has_work():
                crew.hire(self.workers)
                crew.hand_out()
                crew.listen()

    def facts(self) -> dict[str, Any]:
        """The number of processes."""
        return {"workers": self.workers, "cluster": None}


class DaskCluster:
    """Workers of a `distributed` cluster that see the job's folder under the same path.

    They must run one thread each (`dask worker --nthreads 1`).
    """

    def __init__(self, address: str) -> None:
        """Args: `address` of the scheduler, such as `tcp://host:8786`."""
        self.address = address

    def __str__(self) -> str:
        return f"the cluster {self.address}"

    def run(self, work: Work, shards: Sequence[Shard], board: Board) -> None:
        """Complete `shards`."""
        with self._connected() as client:
            from distributed import KilledWorker, as_completed

            waiting = deque(shards)

            def submit() -> Any:
                return client.submit(_finish_remotely, work, waiting.popleft(), board.floor(), pure=False)

            # Few shards are out at a time, so that later ones are handed out with a current floor.
            out_at_once = 2 * max(1, sum(client.nthreads().values()))
            futures = as_completed([submit() for _ in range(min(out_at_once, len(waiting)))])
            for future in futures:
                try:
                    board.completed(future.result())
                except KilledWorker as err:
                    raise ToolError(f"--cluster {self.address}: {err}") from err
                if waiting:
                    futures.add(submit())

    def facts(self) -> dict[str, Any]:
        """The threads of the workers that the scheduler has now.

        Raises:
            ToolError: It does not answer.
        """
        with self._connected() as client:
            return {"workers": sum(client.nthreads().values()), "cluster": self.address}

    def _connected(self) -> Any:
        """A client of the scheduler, to be closed."""
        try:
            from distributed import Client
        except ImportError as err:
            raise MissingExtraError("distributed", "distributed", "--cluster") from err
        try:
            return Client(self.address, timeout="10s")
        except (OSError, ValueError) as err:
            raise ToolError(f"--cluster {self.address}: no scheduler answers there ({err})") from err


def choose_engine(workers: int | None, cluster: str | None = None) -> Engine:
    """The engine for `--workers` and `--cluster`; all processors of this machine unless told."""
    if cluster:
        return DaskCluster(cluster)
    return ProcessPool(workers or processors())


class _Crew:
    """The workers of one run, the shards that wait, and what went wrong so far."""

    def __init__(self, work: Work, shards: Sequence[Shard], board: Board) -> None:
        self.work, self.board = work, board
        self.waiting = deque(shards)
        self.workers: dict[Connection, Worker] = {}
        self.payload = pickle.dumps(work)
        self.deaths: Counter[int] = Counter()  # by item
        self.failed_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self.workers.values():
            worker.end()

    def has_work(self) -> bool:
        return bool(self.waiting) or any(worker.shard for worker in self.workers.values())

    def hire(self, most: int) -> None:
        """Start workers, no more than there are shards to do."""
        busy = sum(worker.shard is not None for worker in self.workers.values())
        while len(self.workers) < min(most, busy + len(self.waiting)):
            worker = Worker(self.payload)
            self.workers[worker.pipe] = worker

    def hand_out(self) -> None:
        """Give waiting shards to workers that are ready."""
        for worker in self.workers.values():
            if self.waiting and worker.ready and worker.shard is None:
                worker.shard = self.waiting.popleft()
                with suppress(ConnectionError):  # it just died, and `listen` will notice
                    worker.pipe.send((worker.shard, self.board.floor()))

    def listen(self) -> None:
        """Wait for a message, or a death, and answer it."""
        for pipe in multiprocessing.connection.wait(list(self.workers)):
            assert isinstance(pipe, Connection)
            worker = self.workers[pipe]
            try:
                message: Entry | Failure | None = pipe.recv()
            except (EOFError, ConnectionError):
                self._replace(worker)
                continue
            if isinstance(message, Entry):
                self.board.recorded(message)
            elif isinstance(message, Failure):
                raise message.error()
            else:  # ready for the next shard
                worker.ready, self.failed_starts = True, 0
                if worker.shard:
                    self.board.completed(worker.shard)
                    worker.shard = None

    def _replace(self, worker: Worker) -> None:
        """Bury a dead worker; its shard goes back to the others."""
        del self.workers[worker.pipe]
        worker.end()
        if worker.shard:
            self._blame(worker.shard)
            self.waiting.appendleft(worker.shard)
        elif not worker.ready:
            self.failed_starts += 1
            if self.failed_starts == MAX_DEATHS:
                raise ToolError(
                    f"{self.work.task.name}: {MAX_DEATHS} worker processes in a row died while they started "
                    "(out of memory?); try fewer --workers"
                )

    def _blame(self, shard: Shard) -> None:
        """Count a death against the item that was in work, and skip it after too many."""
        part = self.work.folder / (shard.file_name + ".part")
        if not part.exists():  # not begun yet, or complete already
            return
        entries = read_entries(part)
        missing = set(range(shard.start, shard.stop)) - {entry.item for entry in entries}
        item = min(missing, default=None)
        if item is None:
            return
        self.deaths[item] += 1
        if self.deaths[item] >= MAX_DEATHS:
            reason = f"{MAX_DEATHS} worker processes died at it (out of memory, or a crash in a library)"
            with ShardLog(part) as log:
                log.append(item, Skipped(reason))


def _finish_remotely(work: Work, shard: Shard, floor: Rank | None) -> Shard:
    use_one_thread()
    work.task.start()
    work.finish(shard, floor, lambda entry: None)
    return shard
