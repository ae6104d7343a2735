"""A long job: what is done is in logs, what is missing is handed to an engine, and the best are known.

`build`, `import` and `reconstruct` each make one in their scratch folder, let it run, and write its records
into a file (`celebahq.jobs.merge`).
"""

import logging
import os
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

from celebahq.errors import ToolError
from celebahq.jobs.earlier import make_way, use_earlier
from celebahq.jobs.engine import Engine
from celebahq.jobs.ledger import Ledger
from celebahq.jobs.locks import wait_for_workers
from celebahq.jobs.log_format import LOG_VERSION
from celebahq.jobs.logs import (
    compact_shard,
    read_complete,
    read_growing,
    read_records,
    reopen_shard,
)
from celebahq.jobs.options import JobOptions
from celebahq.jobs.parameters import PARAMETERS, digest_of, require_same
from celebahq.jobs.progress import Progress, Stage, silent
from celebahq.jobs.ranking import Ranking
from celebahq.jobs.records import KEYS, EarlierRecords
from celebahq.jobs.report import JobReport
from celebahq.jobs.scratch import Scratch
from celebahq.jobs.shards import Assignment, Entry, Record, Setback, Shard, plan_shards
from celebahq.jobs.task import Task
from celebahq.jobs.work import Work

log = logging.getLogger(__name__)

SHARD_BYTES = 128 * 2**20  # of uncompressed images; what a compaction rewrites at a time
SHARDS_AT_LEAST = 256  # so that every worker of a machine has something to do
RETRY_WAITS_SEC = (2.0, 20.0)  # before items that met passing trouble are tried again
NFS_PATIENCE_SEC = 60.0
PASSING_TROUBLE = 0.05  # of the items that may be left out for it, unless told
PLAN = "parts.json"
"""A file that is there from when logs begin to lose their images to the files of the data set."""
WRITING = "writing"
"""The stage that does so."""


class Job:
    """A task's records in a folder; `run` it, then read what came out.

    With `keep`, images that can no longer be among the best `keep` are dropped from complete shards as
    soon as they are half of a shard: the logs stay below about twice the size of the kept images, plus
    the shards in work. Scores and reasons stay.
    """

    def __init__(
        self,
        task: Task,
        scratch: Scratch,
        *,
        keep: int | None = None,
        parameters: dict[str, Any] | None = None,
        item_bytes: int = 0,
        options: JobOptions | None = None,
        finished: EarlierRecords | None = None,
    ) -> None:
        """Learn what earlier runs have done.

        Args:
            keep: How many of the finished items, the best by score, enter the result; all unless told.
            parameters: What besides the task determines the records.
            item_bytes: About what one item takes uncompressed; it decides the shards' size.
            finished: Records of the finished job that this one adds to.

        Raises:
            ToolError: The folder holds a job with other parameters.
            FormatError: A log was damaged.
        """
        self.task, self.scratch, self.options = task, scratch, options or JobOptions()
        fingerprint = {
            "version": f"{version('celebahq-toolkit')}/{LOG_VERSION}",
            "task": task.name,
            "items": len(task),
            "keep": keep,
            **(parameters or {}),
            **task.fingerprint(),
        }
        by_bytes = SHARD_BYTES // max(item_bytes, 1)
        self._shard_size = max(1, min(by_bytes, -(-len(task) // SHARDS_AT_LEAST)))
        self._shards = plan_shards(len(task), self._shard_size)
        self.work = Work(task, scratch, digest_of(fingerprint), self.options.item_timeout)
        self.entries = Ledger(len(task))
        self._ranking = Ranking(keep, self._shard_size) if keep else None
        self._setbacks: dict[int, str] = {}  # of the present round: item -> reason
        self._complete: set[int] = set()
        self._elapsed_sec = 0.0
        self.places = [self.work.place(shard) for shard in self._shards]
        """Where the logs are."""
        self._is_being_written = (scratch.folder / PLAN).exists()
        for folder in (scratch.folder, *scratch.folder.glob(WRITING)):
            wait_for_workers(folder / "workers.lock")  # before their logs may be set aside
        if not self._is_being_written:
            make_way(scratch.folder, fingerprint, task, self._shard_size)
        require_same(scratch.folder, fingerprint)
        use_earlier(task, self.places, scratch.folder, finished)
        self._scan()
        self._resumed = len(self.entries)
        self._skipped = len(self.entries.reasons)

    def run(self, engine: Engine, progress: Progress = silent) -> None:
        """Let `engine` do what is missing; what met trouble that may pass is tried again, later.

        Raises:
            ToolError: More items fail than may, or workers cannot work; what is done is kept.
        """
        if self._resumed:
            log.info(
                "%s: %s of %s were done before; going on",
                self.task.name,
                f"{self._resumed:,}",
                f"{len(self.task):,}",
            )
        self._progress = progress
        self._report_progress()
        self._require_few_skips()
        start = time.monotonic()
        for last_try in self._rounds():
            for news in engine.run(self.work, self._assignments(last_try)):
                self._take(news)
        self._elapsed_sec = time.monotonic() - start

    def records(self) -> Iterator[Record]:
        """All records of a completed job, in the order of the items."""
        for place in self.places:
            yield from read_records(place)

    def report(self) -> JobReport:
        """What was done."""
        entries = self.entries
        return JobReport(
            total=len(self.task),
            kept=np.array(self._ranking.kept(), np.int64) if self._ranking else entries.finished(),
            scores=entries.scores,
            skipped=dict(sorted(entries.reasons.items())),
            resumed=self._resumed,
            elapsed_sec=self._elapsed_sec,
        )

    def shard_bytes(self, items: np.ndarray) -> list[int]:
        """What the images of some items, given as a mask, take in each shard's log."""
        stored = np.where(items, self.entries.blob_bytes, 0)
        return [int(stored[shard.start : shard.stop].sum()) for shard in self._shards]

    def forget(self) -> None:
        """Remove all records: the next command begins anew, with any parameters."""
        folder = self.scratch.folder
        for path in (folder / PARAMETERS, folder / KEYS, *folder.glob("shard-*")):
            path.unlink(missing_ok=True)

    def _rounds(self) -> Iterator[bool]:
        """A round over what is missing at each step, until nothing is; gives whether it is the last try.

        There are several where there is trouble that may pass, and where images were lost with their log.
        """
        while self._has_missing():
            for wait_sec in (0.0, *RETRY_WAITS_SEC):
                time.sleep(wait_sec)
                self._setbacks.clear()
                yield False
                if not self._setbacks:
                    break
                log.info("%s: %s, for reasons that may pass", self.task.name, self._some_setbacks())
            else:
                self._tolerate_setbacks()
                self._setbacks.clear()
                yield True

    def _has_missing(self) -> bool:
        """Whether a shard is not complete, or is not any more, for its images must be made again."""
        if len(self._complete) == len(self._shards):
            for number, items in self._lost_images().items():
                self._reopen(self._shards[number], items)
        return len(self._complete) < len(self._shards)

    def _assignments(self, last_try: bool) -> Iterator[Assignment]:
        """What is missing, each with what is known when it is handed out."""
        for shard in [shard for shard in self._shards if shard.number not in self._complete]:
            floor = self._ranking.floor() if self._ranking else None
            yield Assignment(shard, floor, last_try)

    def _take(self, news: Entry | Setback | Shard) -> None:
        """Take note of what an engine did."""
        if isinstance(news, Entry):
            self._recorded(news)
        elif isinstance(news, Setback):
            self._setbacks[news.item] = news.reason
        elif self._setbacks.keys().isdisjoint(news.items):
            self._completed(news)

    def _recorded(self, entry: Entry) -> None:
        """Count an item, once."""
        if entry.item in self.entries:
            return
        self._count(entry)
        self._skipped += entry.reason is not None
        self._report_progress()
        if entry.reason is not None:
            log.debug("%s: skipped %s: %s", self.task.name, self.task.item_name(entry.item), entry.reason)
            self._require_few_skips()

    def _completed(self, shard: Shard) -> None:
        """Count a shard's items, and make room where the ranking allows it."""
        for entry in self._read_patiently(shard):
            self._recorded(entry)
        self._complete.add(shard.number)
        self._compact(shard)

    def _require_few_skips(self) -> None:
        most = self.options.max_skip_rate
        if most is not None and self._skipped > most * len(self.task):
            reason = next(reversed(self.entries.reasons.values()))
            raise ToolError(
                self.task.name,
                f"{self._skipped:,} of {len(self.task):,} items failed, the last for: "
                f"{reason}; more than --max-skip-rate {most:g} allows; the same command goes on with a "
                "higher rate, or with --retry-skipped when the reasons are gone",
            )

    def _read_patiently(self, shard: Shard) -> list[Entry]:
        """Read a log that was completed just now, perhaps on another machine.

        An NFS client believes for half a minute that a name it found missing is missing still.
        """
        patient_until = time.monotonic() + NFS_PATIENCE_SEC
        while True:
            try:
                return read_complete(self.work.place(shard))
            except FileNotFoundError:
                if time.monotonic() > patient_until:
                    raise
            time.sleep(0.5)

    def _tolerate_setbacks(self) -> None:
        """Leave some items out for trouble that did not pass; when there are many, it is not theirs."""
        rate = self.options.max_skip_rate
        most = max(1.0, PASSING_TROUBLE * len(self.task)) if rate is None else rate * len(self.task)
        if len(self._setbacks) > most:
            raise ToolError(
                self.task.name,
                f"{self._some_setbacks()}; put that right and run the same command again, or give "
                "--max-skip-rate 1 to leave them out",
            )

    def _some_setbacks(self) -> str:
        item, reason = next(iter(self._setbacks.items()))
        several = f"{len(self._setbacks):,} of {len(self.task):,} items cannot be done now"
        return f"{several} ({self.task.item_name(item)}: {reason})"

    def _report_progress(self) -> None:
        self._progress(Stage(self.task.name, len(self.entries), len(self.task), self._skipped))

    def _count(self, entry: Entry) -> None:
        self.entries[entry.item] = entry
        if self._ranking and entry.reason is None:
            self._compact(self._shards[self._ranking.add(entry, self.entries)])

    def _compact(self, shard: Shard) -> None:
        """Drop what cannot be kept any more from a complete shard, once that is more than half of it."""
        if not self._ranking or shard.number not in self._complete or self._is_being_written:
            return
        if self._ranking.is_wasteful(shard.number):
            fallen = self._ranking.fallen(self._finished_in(shard))
            compact_shard(self.work.place(shard), fallen)
            self.entries.update({item: self.entries[item]._replace(blob_bytes=0) for item in fallen})
            self._ranking.weigh(shard.number, self._finished_in(shard))

    def _finished_in(self, shard: Shard) -> list[Entry]:
        entries = (self.entries.get(item) for item in shard.items)
        return [entry for entry in entries if entry is not None and entry.reason is None]

    def _scan(self) -> None:
        """Learn what earlier runs did. No name is looked up that may be missing: the folder is listed."""
        present = set(os.listdir(self.scratch.folder))
        for shard in self._shards:
            place = self.work.place(shard)
            complete = place.complete.name in present
            if not complete and place.growing.name not in present:
                continue
            entries = read_complete(place) if complete else read_growing(place)
            for entry in entries:
                self._count(entry)
            if complete:
                self._complete.add(shard.number)
                self._compact(shard)
            if self.options.retry_skipped and not self._is_being_written:
                self._reopen(shard, {entry.item for entry in entries if entry.reason is not None})

    def _lost_images(self) -> dict[int, set[int]]:
        """By shard, the kept items whose images were dropped: those above them were lost with their log."""
        lost: dict[int, set[int]] = {}
        for item in self._ranking.kept() if self._ranking and not self._is_being_written else ():
            if not self.entries[item].blob_bytes:
                lost.setdefault(item // self._shard_size, set()).add(item)
        return lost

    def _reopen(self, shard: Shard, items: set[int]) -> None:
        """Do some items of a shard again."""
        if not items:
            return
        reopen_shard(self.work.place(shard), items, complete=shard.number in self._complete)
        self._complete.discard(shard.number)
        for item in items:
            del self.entries[item]
        if self._ranking:
            self._ranking.remove(items)
            self._ranking.weigh(shard.number, self._finished_in(shard))


def image_job(
    task: Task,
    scratch: Scratch,
    resolution: int,
    channels: int = 3,
    *,
    keep: int | None = None,
    options: JobOptions,
    finished: EarlierRecords | None = None,
) -> Job:
    """A job that makes images of one size for a pyramid file."""
    return Job(
        task,
        scratch,
        keep=keep,
        parameters={"resolution": resolution, "channels": channels, "codec": options.codec},
        item_bytes=channels * resolution**2 * 4 // 3,
        options=options,
        finished=finished,
    )
