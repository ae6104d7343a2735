"""What a worker does, wherever it is: a shard, item by item, into its log."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from celebahq.errors import ToolError, describe_error
from celebahq.jobs.attempts import attempts_at
from celebahq.jobs.locks import require_owner, working_on
from celebahq.jobs.logs import LogPlace, ShardLog
from celebahq.jobs.passing import may_pass
from celebahq.jobs.scratch import Scratch
from celebahq.jobs.shards import Assignment, Entry, Setback, Shard
from celebahq.jobs.task import Finished, Skipped, StopJob, Task


@dataclass(frozen=True)
class Work:
    """All that a worker needs, picklable: the task, where the logs are, and whose run it is."""

    task: Task
    scratch: Scratch
    job: str
    """Digest of the job's parameters."""
    item_limit_sec: float | None = None
    """How long one item may take, where a process can be spared."""

    def place(self, shard: Shard) -> LogPlace:
        """Where the shard's log is."""
        return LogPlace(self.scratch.folder, self.job, shard)


def finish_shard(work: Work, assignment: Assignment) -> Iterator[Entry | Setback]:
    """Do the items of a shard that its log does not hold yet; yields each when it is recorded, or is not.

    Without setbacks the log is complete afterwards.

    Raises:
        ToolError: A later run has taken the job over, the log cannot be written, or the task asks to stop.
    """
    shard, floor, last_try = assignment
    place = work.place(shard)
    with working_on(work.scratch.folder / "workers.lock", shard.number):
        require_owner(work.scratch.lock, work.scratch.token)
        if place.complete.exists():  # by a worker that could not say so any more
            return
        with (
            ShardLog(place) as log,
            attempts_at(place.complete, work.scratch.token, work.item_limit_sec) as attempts,
        ):
            for index in log.missing():
                outcome: Finished | Skipped
                if hopeless := attempts.begin(index):
                    outcome = Skipped(hopeless)
                else:
                    try:
                        with _time_limit(work.item_limit_sec):
                            outcome = usable(work.task.process(index))
                    except Exception as err:
                        attempts.end()
                        if may_pass(err) and not last_try and not isinstance(err, StopJob):
                            yield Setback(index, describe_failure(err))
                            continue
                        outcome = reason_to_skip(err)
                yield log.append(index, outcome, floor)
            if not log.missing():
                log.seal()


def usable(outcome: Finished | Skipped) -> Finished | Skipped:
    """An outcome with its score checked: what is not a number has no rank."""
    if isinstance(outcome, Finished) and outcome.score is not None and not np.isfinite(outcome.score):
        return Skipped(f"its score is {outcome.score}")
    return outcome


def reason_to_skip(err: Exception) -> Skipped:
    """Whatever goes wrong with an item is a reason, and not the end of the job unless the task asks."""
    if isinstance(err, StopJob):
        raise err
    return Skipped(describe_failure(err))


def describe_failure(err: Exception) -> str:
    """One line for people."""
    if isinstance(err, ToolError | OSError):
        return describe_error(err)
    if isinstance(err, MemoryError):
        return "out of memory"
    return f"unexpected {type(err).__name__}: {err}"  # a bug must not end days of work


@contextmanager
def _time_limit(limit_sec: float | None) -> Iterator[None]:
    """The kernel ends the process after the time, whatever library it hangs in; its shard goes to another."""
    if limit_sec is None:
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, limit_sec)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
