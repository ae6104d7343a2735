"""A long job in a folder: locked, resumable, its scratch space bounded, its result a pyramid file.

`run_job` is what `build`, `import` and `reconstruct` call.
"""

import heapq
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from celebahq.console import Progress, status
from celebahq.errors import ToolError
from celebahq.files import make_folder, read_json, refuse_existing, write_json
from celebahq.formats.codecs import dataset_options
from celebahq.jobs.engine import Engine, InProcess
from celebahq.jobs.locks import owning, wait_for_workers
from celebahq.jobs.shards import (
    LOG_VERSION,
    Entry,
    Rank,
    Record,
    Shard,
    Task,
    compact_shard,
    plan_shards,
    read_entries,
    read_records,
)
from celebahq.jobs.worker import Work

MERGING = "merging"
"""A file that is there from before the result appears until the job is removed."""
SHARD_BYTES = 128 * 2**20  # of uncompressed images; what a compaction rewrites at a time
SHARDS_AT_LEAST = 256  # so that every worker of a machine has something to do


@dataclass(frozen=True)
class JobReport:
    """What a job did, in numbers."""

    total: int
    kept: list[int]  # items in the file, in its order
    scores: dict[int, float]  # of all finished items, where there are scores
    skipped: dict[int, str]  # item -> reason
    resumed: int  # items that earlier runs had finished
    elapsed_sec: float  # of the last run, before writing

    @cached_property
    def ranking(self) -> list[int]:
        """All items that have a score, the best first."""
        return sorted(self.scores, key=lambda item: Rank.of(item, self.scores[item]), reverse=True)


def run_job(
    task: Task,
    out: Path,
    *,
    resolution: int,
    channels: int = 3,
    engine: Engine | None = None,
    keep: int | None = None,
    codec: str = "gzip",
    provenance: dict[str, Any] | None = None,
    finish: Callable[[JobReport], None] = lambda report: None,
) -> JobReport:
    """Do every item of `task` and write what is finished into the pyramid `out`, in the items' order.

    A run that was ended at any moment is continued by the same call; the file is the same bytes then.
    The scratch is in `OUT.work`.

    Args:
        engine: Who works; this process unless told.
        keep: How many of the finished items, the best by score, enter the file; all unless told.
        provenance: Facts for the file; nothing that differs between equal jobs.
        finish: Called with the report after `out` is in place and before the scratch is removed.

    Raises:
        MissingExtraError: The codec needs an optional dependency.
        ToolError: `out` exists; the folder holds a job with other parameters, or is in use; no item
            was finished.
    """
    require_new_output(out)
    dataset_options(codec)  # a missing package is better known now than at every image
    folder = work_folder(out)
    trash = folder.with_name(folder.name + ".trash")
    shutil.rmtree(trash, ignore_errors=True)
    format_parameters = {"resolution": resolution, "channels": channels, "codec": codec}
    image_bytes = channels * resolution**2 * 4 // 3
    with Job(task, folder, keep=keep, parameters=format_parameters, item_bytes=image_bytes) as job:
        job.run(engine or InProcess())
        report = job.report()
        if not report.kept:
            for path in (folder / "job.json", *folder.glob("shard-*")):
                path.unlink()  # nothing to go on from: the next command tries all again, with any parameters
            reasons = "; ".join(sorted(set(report.skipped.values()))[:3])
            raise ToolError(f"{out}: not written, for none of {report.total:,} items was finished: {reasons}")
        if not out.exists():
            (folder / MERGING).touch()
            _merge(job, report, out, {**format_parameters, "provenance": provenance})
        finish(report)
    os.replace(folder, trash)  # at once: half a folder would look like a job to continue
    shutil.rmtree(trash)
    return report


def require_new_output(out: Path) -> None:
    """Refuse to replace a file; one that this job made, and could not report on, is welcome.

    Raises:
        ToolError: It exists.
    """
    if not (work_folder(out) / MERGING).exists():
        refuse_existing(out)


def work_folder(out: Path) -> Path:
    """Where the job that makes `out` keeps its scratch: `OUT.work`."""
    return out.with_name(out.name + ".work")


class Job:
    """A task's records in a folder; open it, `run` an engine, read what came out.

    With `keep`, images that can no longer be among the best `keep` are dropped from complete shards as
    soon as they are half of a shard: the logs stay below about twice the size of the kept images, plus
    the shards in work. Scores and reasons stay.
    """

    def __init__(
        self,
        task: Task,
        folder: Path,
        *,
        keep: int | None = None,
        parameters: dict[str, Any] | None = None,
        item_bytes: int = 0,
    ) -> None:
        """Args: `item_bytes` is about what one item takes uncompressed; it decides the shards' size."""
        self.task, self.folder, self.keep = task, folder, keep
        self._fingerprint = {
            "version": f"{version('celebahq-toolkit')}/{LOG_VERSION}",
            "task": task.name,
            "items": len(task),
            "keep": keep,
            **(parameters or {}),
            **task.fingerprint(),
        }
        by_bytes = SHARD_BYTES // max(item_bytes, 1)
        self._shard_size = max(1, min(by_bytes, -(-len(task) // SHARDS_AT_LEAST)))
        self.entries: dict[int, Entry] = {}
        self._best: list[Rank] = []  # heap: the best `keep`, the worst of them first
        self._complete: set[int] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        make_folder(self.folder)
        with ExitStack() as stack:
            self._owner = stack.enter_context(owning(self.folder / "lock"))
            self._check_fingerprint()
            wait_for_workers(self.folder / "workers.lock")
            self._scan()
            self._stack = stack.pop_all()
        self._resumed = len(self.entries)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, engine: Engine) -> None:
        """Let `engine` do what is missing."""
        missing = [shard for shard in self._shards if shard.number not in self._complete]
        if self._resumed:
            status(f"{self.task.name}: {self._resumed:,} of {len(self.task):,} were done before; going on")
        self._progress = Progress(self.task.name, len(self.task), done=self._resumed)
        with self._progress:
            start = time.monotonic()
            engine.run(Work(self.task, self.folder, self._owner), missing, self)
            self._elapsed_sec = time.monotonic() - start

    def records(self) -> Iterator[Record]:
        """All records of a completed job, in the order of the items."""
        for shard in self._shards:
            yield from read_records(self.folder / shard.file_name)

    def report(self) -> JobReport:
        """What was done."""
        finished = {item: entry for item, entry in sorted(self.entries.items()) if entry.reason is None}
        kept = sorted(-rank.negative_index for rank in self._best) if self.keep else list(finished)
        return JobReport(
            total=len(self.task),
            kept=kept,
            scores={item: entry.score for item, entry in finished.items() if entry.score is not None},
            skipped={item: entry.reason for item, entry in sorted(self.entries.items()) if entry.reason},
            resumed=self._resumed,
            elapsed_sec=self._elapsed_sec,
        )

    def floor(self) -> Rank | None:
        """The worst place among the best `keep` so far."""
        return self._best[0] if len(self._best) == self.keep else None

    def recorded(self, entry: Entry) -> None:
        """Count an item, once."""
        if entry.item not in self.entries:
            self._count(entry)
            self._progress.advance(skipped=int(entry.reason is not None))

    def completed(self, shard: Shard) -> None:
        """Count a shard's items, and make room where the ranking allows it."""
        for entry in read_entries(self.folder / shard.file_name):
            self.recorded(entry)
        self._complete.add(shard.number)
        self._compact(shard)

    def _count(self, entry: Entry) -> None:
        self.entries[entry.item] = entry
        if self.keep is None or entry.reason is not None:
            return
        if entry.score is None:
            raise ValueError("keep: the task's results have no score to rank them by")
        heapq.heappush(self._best, Rank.of(entry.item, entry.score))
        if len(self._best) > self.keep:
            fallen = -heapq.heappop(self._best).negative_index
            self._compact(self._shards[fallen // self._shard_size])

    def _compact(self, shard: Shard) -> None:
        """Drop what cannot be kept any more from a complete shard, once that is more than half of it."""
        floor = self.floor()
        if floor is None or shard.number not in self._complete:
            return
        sizes = {i: self.entries[i].blob_bytes for i in range(shard.start, shard.stop)}
        dropped = {
            i for i, size in sizes.items() if size and Rank.of(i, self.entries[i].score or 0.0) < floor
        }
        if 2 * sum(sizes[i] for i in dropped) > sum(sizes.values()):
            compact_shard(self.folder / shard.file_name, dropped)
            self.entries |= {i: self.entries[i]._replace(blob_bytes=0) for i in dropped}

    def _check_fingerprint(self) -> None:
        path = self.folder / "job.json"
        now = json.loads(json.dumps(self._fingerprint))
        if not path.exists():
            write_json(path, now)
        before = read_json(path)
        changed = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
        if changed:
            differences = ", ".join(_difference(name, before.get(name), now.get(name)) for name in changed)
            raise ToolError(
                f"{self.folder}: holds a job begun with other parameters ({differences}); give the "
                "same ones to continue it, choose another output, or delete the folder to begin anew"
            )

    def _scan(self) -> None:
        """Learn what earlier runs have done."""
        self._shards = plan_shards(len(self.task), self._shard_size)
        for shard in self._shards:
            path = self.folder / shard.file_name
            part = path.with_name(path.name + ".part")
            found = next((log for log in (path, part) if log.exists()), None)
            for entry in read_entries(found) if found else []:
                self._count(entry)
            if found == path:
                self._complete.add(shard.number)
                self._compact(shard)


def _difference(name: str, before: Any, now: Any) -> str:
    both = f"{name} was {before}, now {now}"
    return both if len(both) <= 80 else f"other {name}"  # checksums tell people nothing


def _merge(job: Job, report: JobReport, out: Path, writer_options: dict[str, Any]) -> None:
    """Copy the kept images' chunks into the pyramid file, in the items' order."""
    from celebahq.pyramid import PyramidWriter

    kept = set(report.kept)
    quality_rank = {item: rank for rank, item in enumerate(report.ranking)}
    with PyramidWriter(out, **writer_options) as writer, Progress("write", len(kept)) as progress:
        for record in job.records():
            item = record.entry.item
            if item not in kept:
                continue
            meta = record.meta
            if quality_rank:
                meta |= {"quality_score": record.entry.score, "quality_rank": quality_rank[item]}
            label = None if record.label is None else np.asarray(record.label, dtype=np.float32)
            writer.append_encoded(record.blobs, label=label, meta=meta)
            progress.advance()
