"""Workers of a dask cluster: examined before they get work, and done without when they die."""

import hashlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from celebahq.errors import MissingExtraError, ToolError
from celebahq.jobs.attempts import MAX_DEATHS
from celebahq.jobs.engine import Engine, News
from celebahq.jobs.shards import Assignment, Entry, Setback
from celebahq.jobs.work import Work, finish_shard
from celebahq.jobs.worker import use_one_thread

log = logging.getLogger(__name__)

NOISY = ("distributed", "tornado", "asyncio")
POLL_SEC = 2.0
PATIENCE_SEC = 60.0  # without any worker
EXAMINATION_SEC = 300.0  # to load networks over a slow network file system

_one_at_a_time = threading.Lock()  # of a worker's threads: the libraries are not all made for more
_started: tuple[Work, Work] | None = (
    None  # what this process was given, and its own copy, whose task it started
)


class DaskCluster(Engine):
    """Workers of a `distributed` cluster that see the photos and the job's folder under the same paths."""

    def __init__(self, address: str) -> None:
        """Args: `address` of the scheduler, such as `tcp://host:8786`."""
        self.address = address
        self.troubled: dict[int, set[str]] = {}
        """Shards and the workers that met trouble with them, which may pass elsewhere."""

    def __str__(self) -> str:
        return f"the cluster {self.address}"

    def run(self, work: Work, assignments: Iterator[Assignment]) -> Iterator[News]:
        """Go through all shards.

        Raises:
            ToolError: The scheduler is gone, there are no workers, or none that may work.
        """
        with self._connected() as client:
            yield from _Run(self, client, work, assignments).news()

    def facts(self) -> dict[str, Any]:
        """The workers that the scheduler has now.

        Raises:
            ToolError: It does not answer.
        """
        with self._connected() as client:
            return {"workers": len(client.nthreads()), "cluster": self.address}

    def ask(self, question: Callable[[], str]) -> set[str]:
        """The answers of the workers that are there now."""
        with self._connected() as client:
            self.require_workers(client, time.monotonic())
            answers = client.run(question, on_error="return").values()
        given = {answer for answer in answers if isinstance(answer, str)}
        if not given:
            raise ToolError(f"--cluster {self.address}", f"no worker can be asked: {next(iter(answers))!r}")
        return given  # who cannot even be asked is examined, and refused, later

    def require_workers(self, client: Any, since: float) -> None:
        """Wait for the first worker.

        Raises:
            ToolError: There has been none for `PATIENCE_SEC` since then.
        """
        while not client.nthreads():
            if time.monotonic() - since > PATIENCE_SEC:
                raise ToolError(
                    f"--cluster {self.address}",
                    f"it has no workers; start some (dask worker {self.address} "
                    "--nthreads 1) and run the same command again",
                )
            time.sleep(0.2)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """A client of the scheduler, whose loss becomes one line."""
        try:
            from distributed import Client
            from distributed.comm import CommClosedError
        except ImportError as err:
            raise MissingExtraError("distributed", "distributed", "--cluster") from err
        with _quiet():
            try:
                client = Client(self.address, timeout="10s")
            except (OSError, ValueError) as err:
                raise ToolError(f"--cluster {self.address}", f"no scheduler answers there ({err})") from err
            try:
                yield client
            except (CommClosedError, _SchedulerLostError, TimeoutError) as err:
                raise ToolError(
                    f"--cluster {self.address}",
                    "the scheduler is gone; start it and its workers anew and run the same command again",
                ) from err
            finally:
                client.close(timeout=2)


class _SchedulerLostError(Exception):
    """The connection to the scheduler broke."""


class Fitness(NamedTuple):
    """Whether a worker may work."""

    code: str
    refusal: str | None = None


class _Run:
    """Shards on their way through a cluster."""

    def __init__(
        self, cluster: DaskCluster, client: Any, work: Work, assignments: Iterator[Assignment]
    ) -> None:
        self.cluster, self.client, self.work, self.assignments = cluster, client, work, assignments
        self.given_back: deque[Assignment] = deque()
        self.out: dict[Any, tuple[Assignment, set[str]]] = {}  # future -> what it does, and who may
        self.fit: list[str] = []  # addresses of workers
        self.examined: dict[str, tuple[Any, float]] = {}  # workers that are asked just now, since when
        self.refusals: dict[str, str] = {}
        self.killed: Counter[int] = Counter()  # how often the scheduler gave a shard up
        self.task: Any = None  # the work, where the workers have it

    def news(self) -> Iterator[News]:
        """Hand shards out until all are gone through."""
        last_seen = time.monotonic()
        while True:
            self._examine()
            self._take_back()
            if self.fit:
                last_seen = time.monotonic()
                self._hand_out()
                if not self.out:
                    return
            else:
                self._require_hope(last_seen)
            for future in self._finished():
                yield from self._outcome(future)

    def _require_hope(self, last_seen: float) -> None:
        """Wait for workers, unless all that are there were refused."""
        self.cluster.require_workers(self.client, last_seen)
        if self.client.nthreads().keys() <= self.refusals.keys():
            worker, reason = next(iter(self.refusals.items()))
            raise ToolError(f"--cluster {self.cluster.address}", f"no worker may work; {worker} {reason}")

    def _examine(self) -> None:
        """Look at workers that are new; they load what the task needs while others work."""
        present = self.client.nthreads()
        self.fit = [worker for worker in self.fit if worker in present]
        for worker in [worker for worker in self.examined if worker not in present]:
            del self.examined[worker]
        for worker in present.keys() - {*self.fit, *self.refusals, *self.examined}:
            if self.task is None or self.task.status != "finished":
                self.task = self.client.scatter(self.work, broadcast=True, hash=False)
            future = self.client.submit(
                _examine, self.task, workers=[worker], allow_other_workers=False, pure=False, retries=0
            )
            self.examined[worker] = future, time.monotonic()
        for worker, (future, since) in list(self.examined.items()):
            if future.status == "pending" and time.monotonic() - since < EXAMINATION_SEC:
                continue
            del self.examined[worker]
            reason = self._refusal(future)
            if reason is None:
                self.fit.append(worker)
            elif future.status != "cancelled":
                self.refusals[worker] = reason
                log.info("worker %s gets no work: it %s", worker, reason)

    def _refusal(self, future: Any) -> str | None:
        """Why a worker may not work."""
        if future.status == "pending":
            return f"does not answer within {EXAMINATION_SEC:.0f} s"
        if future.status == "cancelled":
            return "is gone"
        if future.status == "error":
            return f"cannot run this version of the toolkit ({future.exception()!r})"
        fitness = future.result()
        if fitness.code != code_digest():
            return "runs other code of the toolkit: install the same version on all machines"
        return None if fitness.refusal is None else str(fitness.refusal)

    def _take_back(self) -> None:
        """Take shards back from workers that are gone, where no other had been allowed to do them."""
        for future, (assignment, workers) in list(self.out.items()):
            if future.status == "pending" and not workers & set(self.fit):
                future.cancel()
                del self.out[future]
                self.given_back.append(assignment)

    def _hand_out(self) -> None:
        """Keep two shards at each worker, no more: later ones are handed out with a current floor."""
        while self.fit and len(self.out) < 2 * len(self.fit):
            assignment = self.given_back.popleft() if self.given_back else next(self.assignments, None)
            if assignment is None:
                return
            workers = self._elsewhere(assignment)
            future = self.client.submit(_finish_remotely, self.task, assignment, workers=workers, pure=False)
            self.out[future] = assignment, set(workers)

    def _elsewhere(self, assignment: Assignment) -> list[str]:
        """Workers for a shard: those that met no trouble with it, where there are such."""
        troubled = self.cluster.troubled.get(assignment.shard.number, set())
        return [worker for worker in self.fit if worker not in troubled] or self.fit

    def _finished(self) -> list[Any]:
        """The shards that are back; none if it takes long, so that new workers are seen."""
        from distributed import wait

        if self.client.status != "running":
            raise _SchedulerLostError
        awaited = [*self.out, *(future for future, _ in self.examined.values())]
        if awaited:
            with suppress(TimeoutError, CancelledError):
                wait(awaited, timeout=POLL_SEC, return_when="FIRST_COMPLETED")
        return [future for future in self.out if future.status != "pending"]

    def _outcome(self, future: Any) -> Iterator[News]:
        """What became of a shard."""
        assignment, _ = self.out.pop(future)
        try:
            if future.status != "finished":
                raise CancelledError
            worker, news = future.result()
        except CancelledError:  # its worker died, perhaps before it could hand the result over
            self._give_back(assignment, future)
            return
        if any(isinstance(each, Setback) for each in news):
            self.cluster.troubled.setdefault(assignment.shard.number, set()).add(worker)
        yield from news
        yield assignment.shard

    def _give_back(self, assignment: Assignment, future: Any) -> None:
        """Do a shard again that was lost with its workers."""
        from distributed import KilledWorker

        if self.client.status != "running":
            raise _SchedulerLostError
        if future.status == "error":
            error = future.exception()
            if not isinstance(error, KilledWorker):
                raise error
            self.killed[assignment.shard.number] += 1
            if self.killed[assignment.shard.number] > MAX_DEATHS:
                raise ToolError(f"--cluster {self.cluster.address}", str(error))
        else:  # cancelled: the last worker that had the task's data is gone, and all get it anew
            self.task = None
            self.fit.clear()
            self.examined.clear()
        self.given_back.append(assignment)


@contextmanager
def _quiet() -> Iterator[None]:
    """What `distributed` would print about lost connections is told in one line of ours."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in NOISY]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@cache
def code_digest() -> str:
    """SHA-256 of the package's modules and weights."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(path for suffix in ("*.py", "*.safetensors") for path in package.rglob(suffix)):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _examine(work: Work) -> Fitness:
    """On a worker: whether it can do the work, with all that the work needs loaded."""
    if not work.scratch.lock.exists():
        return Fitness(code_digest(), f"does not see {work.scratch.folder}; it needs the same folders")
    with _one_at_a_time:
        try:
            _start(work)
        except (ToolError, OSError) as err:
            return Fitness(code_digest(), f"cannot begin: {err}")
    return Fitness(code_digest())


def _finish_remotely(work: Work, assignment: Assignment) -> tuple[str, list[Entry | Setback]]:
    """On a worker: do a shard."""
    from distributed import get_worker

    with _one_at_a_time:
        return get_worker().address, list(finish_shard(_start(work), assignment))


def _start(work: Work) -> Work:
    """Load what the task needs, once; the work is one object in a process, however often it is asked for.

    What is started is a copy: dask hands the object on to other workers, and nothing that is open may travel.
    """
    global _started  # what a process has loaded is its state
    if _started is None or _started[0] is not work:
        use_one_thread()
        mine = deepcopy(work)
        mine.task.start()
        _started = work, mine
    return _started[1]
