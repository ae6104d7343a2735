"""Workers of a dask cluster."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from celebahq.errors import MissingExtraError, ToolError
from celebahq.jobs.engine import Engine, News
from celebahq.jobs.shards import Assignment, Entry, Setback
from celebahq.jobs.work import Work, finish_shard
from celebahq.jobs.worker import use_one_thread


class DaskCluster(Engine):
    """Workers of a `distributed` cluster that see the job's folder under the same path.

    They must run one thread each (`dask worker --nthreads 1`).
    """

    def __init__(self, address: str) -> None:
        """Args: `address` of the scheduler, such as `tcp://host:8786`."""
        self.address = address

    def __str__(self) -> str:
        return f"the cluster {self.address}"

    def run(self, work: Work, assignments: Iterator[Assignment]) -> Iterator[News]:
        """Go through all shards."""
        with self._connected() as client:
            from distributed import KilledWorker, as_completed

            def submit(assignment: Assignment) -> Any:
                future = client.submit(_finish_remotely, work, assignment, pure=False)
                future.assignment = assignment
                return future

            # Few shards are out at a time, so that later ones are handed out with a current floor.
            out_at_once = 2 * max(1, sum(client.nthreads().values()))
            futures = as_completed([submit(first) for first in islice(assignments, out_at_once)])
            for future in futures:
                try:
                    yield from future.result()
                except KilledWorker as err:
                    raise ToolError(f"--cluster {self.address}: {err}") from err
                yield future.assignment.shard
                for assignment in islice(assignments, 1):
                    futures.add(submit(assignment))

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


def _finish_remotely(work: Work, assignment: Assignment) -> list[Entry | Setback]:
    use_one_thread()
    work.task.start()
    return list(finish_shard(work, assignment))
