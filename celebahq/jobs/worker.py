"""One worker process of a job: what it is given, how it is started, how it lives and ends."""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from celebahq.errors import ToolError, describe_error
from celebahq.jobs.shards import Assignment, Entry, Setback, Shard
from celebahq.jobs.work import Work, finish_shard

WORKER_NUMBER = "CELEBAHQ_WORKER"
"""In a worker's environment: its place among the workers of its machine."""
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


class Ready:
    """A worker has loaded all it needs."""


@dataclass(frozen=True)
class Failure:
    """Why a worker cannot go on at all."""

    message: str
    expected: bool
    """A reason for people, not a traceback."""

    def error(self) -> Exception:
        """The exception for the process that waits."""
        return ToolError(self.message) if self.expected else RuntimeError(self.message)


Message = Entry | Setback | Shard | Ready | Failure


class Worker:
    """A process, the pipe to it, and the shard that it is at."""

    def __init__(self, payload: bytes, assignment: Assignment, number: int = 0) -> None:
        """Start it.

        Args:
            payload: A pickled `Work`.
            number: Its place among the workers; a machine's GPUs are shared out by it.
        """
        self.number = number
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.ready = False
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, payload, number), daemon=True
        )
        with _interrupts_blocked(), _one_thread_each():
            self.process.start()
        theirs.close()  # so that the worker's end shows as end of file
        self.take(assignment)

    def take(self, assignment: Assignment) -> None:
        """Give it a shard."""
        self.assignment = assignment
        self.heard_at = time.monotonic()
        with suppress(ConnectionError):  # it just died, and `receive` will tell
            self.pipe.send(assignment)

    def receive(self) -> Message | None:
        """What it says; None if it is dead."""
        try:
            message: Message = self.pipe.recv()
        except (EOFError, ConnectionError):
            return None
        self.heard_at = time.monotonic()
        self.ready = True
        return message

    def end(self) -> None:
        """Kill it."""
        self.process.kill()  # it may be killed at any time; asking politely would only take longer
        self.process.join()
        self.pipe.close()


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
    """As `use_one_thread`, for a process started in here: NumPy reads the variables when it is loaded."""
    before = {name: os.environ[name] for name in ONE_THREAD if name in os.environ}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name in ONE_THREAD:
            del os.environ[name]
        os.environ.update(before)


def _serve(pipe: Connection, payload: bytes, number: int) -> None:
    """A worker's life: load the models, say so, do shards until the parent ends."""
    os.environ[WORKER_NUMBER] = str(number)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        use_one_thread()
        work: Work = pickle.loads(payload)
        work.task.start()
        pipe.send(Ready())
        while True:
            assignment = pipe.recv()
            for news in finish_shard(work, assignment):
                pipe.send(news)
            pipe.send(assignment.shard)
    except (ConnectionError, EOFError):  # the parent is gone
        os._exit(1)
    except (ToolError, OSError) as err:
        pipe.send(Failure(describe_error(err), expected=True))
    except MemoryError:
        pipe.send(Failure("a worker process ran out of memory; try fewer --workers", expected=True))
    except Exception:  # our bug: the parent shows the traceback
        pipe.send(Failure(traceback.format_exc(), expected=False))


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def use_one_thread() -> None:
    """Processes are what runs in parallel: threads within each would only get in each other's way."""
    os.environ.update(ONE_THREAD)
    import cv2

    cv2.setNumThreads(1)
    if "torch" in sys.modules:  # too late for the variables
        sys.modules["torch"].set_num_threads(1)
