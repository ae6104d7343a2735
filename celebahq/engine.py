"""Who works on the shards of a job: this process, a pool of processes, or a cluster.

An engine has one method, `run(work, shards, board)`. It lets `work.finish` do every shard somewhere,
tells the board what was recorded, and returns when all are complete. What is finished is on disk the
moment it is recorded, so an engine may lose processes, or itself be lost, at any moment.
"""

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Protocol, Self

from celebahq.errors import MissingExtraError, ToolError
from celebahq.locks import require_owner, working_on
from celebahq.shards import Entry, Rank, Shard, ShardLog, Skipped, Task, read_entries, write_shard

MAX_DEATHS = 5  # of worker processes at one item, or at their start, before it is given up

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


@dataclass(frozen=True)
class Work:
    """All that a worker needs, picklable: the task, the folder of the logs, and whose run it is."""

    task: Task
    folder: Path
    owner: str

    def finish(self, shard: Shard, floor: Rank | None, report: Callable[[Entry], None]) -> None:
        """Do what is left of a shard; refuses when a later run has taken the job over."""
        with working_on(self.folder / "workers.lock", shard.number):
            require_owner(self.folder / "lock", self.owner)
            write_shard(self.task, shard, self.folder, floor, report)


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


class InProcess:
    """One shard after the other in this process."""

    def run(self, work: Work, shards: Sequence[Shard], board: Board) -> None:
        """Complete `shards`."""
        work.task.start()
        for shard in shards:
            work.finish(shard, board.floor(), board.recorded)
            board.completed(shard)


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
        try:
            from distributed import Client, KilledWorker, as_completed
        except ImportError as err:
            raise MissingExtraError("distributed", "distributed", "--cluster") from err
        try:
            client = Client(self.address, timeout="10s")
        except (OSError, ValueError) as err:
            raise ToolError(f"--cluster {self.address}: no scheduler answers there ({err})") from err
        with client:
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


def choose_engine(workers: int | None, cluster: str | None = None) -> Engine:
    """The engine for `--workers` and `--cluster`; all processors of this machine unless told."""
    if cluster:
        return DaskCluster(cluster)
    return ProcessPool(workers or processors())


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Failure:
    """Why a worker cannot go on at all."""

    message: str
    expected: bool  # a reason for people, not a traceback

    def error(self) -> Exception:
        """The exception for the process that waits."""
        return ToolError(self.message) if self.expected else RuntimeError(self.message)


class _Worker:
    """A process, the pipe to it, and the shard that it is at."""

    def __init__(self, payload: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.shard: Shard | None = None
        self.ready = False
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs, payload), daemon=True)
        with _interrupts_blocked(), _one_thread_each():
            self.process.start()
        theirs.close()  # so that the worker's end shows as end of file

    def end(self) -> None:
        self.process.kill()  # it may be killed at any time; asking politely would only take longer
        self.process.join()
        self.pipe.close()


class _Crew:
    """The workers of one run, the shards that wait, and what went wrong so far."""

    def __init__(self, work: Work, shards: Sequence[Shard], board: Board) -> None:
        self.work, self.board = work, board
        self.waiting = deque(shards)
        self.workers: dict[Connection, _Worker] = {}
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
            worker = _Worker(self.payload)
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

    def _replace(self, worker: _Worker) -> None:
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


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process started in here never sees Ctrl-C: its parent does, and ends it."""
    resource_tracker.ensure_running()  # its own start would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """As `_use_one_thread`, for a process started in here: NumPy reads the variables when it is loaded."""
    before = {name: os.environ[name] for name in ONE_THREAD if name in os.environ}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name in ONE_THREAD:
            del os.environ[name]
        os.environ.update(before)


def _serve(pipe: Connection, payload: bytes) -> None:
    """A worker's life: load the models, say so, do shards until the parent ends."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        _use_one_thread()
        work: Work = pickle.loads(payload)
        work.task.start()
        while True:
            pipe.send(None)
            shard, floor = pipe.recv()
            work.finish(shard, floor, pipe.send)
    except (ConnectionError, EOFError):  # the parent is gone
        os._exit(1)
    except (ToolError, OSError) as err:
        pipe.send(Failure(str(err), expected=True))
    except Exception:
        pipe.send(Failure(traceback.format_exc(), expected=False))


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _use_one_thread() -> None:
    """Processes are what runs in parallel: threads within each would only get in each other's way."""
    os.environ.update(ONE_THREAD)
    import cv2

    cv2.setNumThreads(1)
    if "torch" in sys.modules:  # too late for the variables
        sys.modules["torch"].set_num_threads(1)


def _finish_remotely(work: Work, shard: Shard, floor: Rank | None) -> Shard:
    _use_one_thread()
    work.task.start()
    work.finish(shard, floor, lambda entry: None)
    return shard
