"""Append-only shard logs: what a long job has finished, image by image.

A job (`celebahq.jobs.job`) is cut into shards, runs of consecutive items. Whoever works on a shard appends
one checksummed record per item to `shard-NNNNN.log.part` and renames it to `shard-NNNNN.log` when the
last item is in. A killed process loses the item it was at and nothing else: the next one cuts a torn
record off the end of the log and goes on after it.

    record  = MAGIC | header length u32 | blobs length u64 | header crc32 u32 | blobs crc32 u32
              | header | blobs

Little-endian. The header (JSON) holds item, meta, label, score, reason and the lengths of the blobs.
"""

import json
import os
import struct
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

from celebahq.errors import FormatError, ToolError
from celebahq.files import sync_directory

MAGIC = b"CHQR"
PREFIX = struct.Struct("<4sIQII")
LOG_VERSION = 1
SYNC_INTERVAL_SEC = 5.0


@dataclass(frozen=True)
class Finished:
    """One item's result.

    Args:
        blobs: One encoded chunk per pyramid level, largest first, as `celebahq.pyramid.encode_image`
            gives them; empty where a job makes facts only.
        meta: Facts about the item: str, int, float, bool, or nested lists or arrays of numbers.
            Every item of a job has the same names. They must depend on nothing but the item.
        label: `(L,)` float32, for all items of a job or for none.
        score: Finite; higher is better. Needed where only the best are kept.
    """

    blobs: Sequence[bytes]
    meta: Mapping[str, Any] = field(default_factory=dict)
    label: np.ndarray | None = None
    score: float | None = None


@dataclass(frozen=True)
class Skipped:
    """An item that cannot be used, and why, in words for people."""

    reason: str


class StopJob(ToolError):
    """Raised by a task that will not go on without an item: ends the job, which does that item again."""


class Task(ABC):
    """What a job does to each item; picklable, the same result wherever and whenever it runs."""

    name: str  # what people call the stage

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """JSON facts that determine the result; a job is not continued with other ones."""

    @abstractmethod
    def process(self, index: int) -> Finished | Skipped:
        """Do one item. A `ToolError` or `OSError` raised here is the item's reason to be skipped."""

    def start(self) -> None:  # noqa: B027 (most tasks have nothing to load)
        """Load what `process` needs, once per worker. An error raised here ends the job."""

    def item_name(self, index: int) -> str:
        """What people call the item: its file name, say."""
        return f"item {index}"


class Shard(NamedTuple):
    """Items `start` .. `stop - 1` of a job."""

    number: int
    start: int
    stop: int

    @property
    def file_name(self) -> str:
        """Name of the complete log; `.part` is added while it grows."""
        return f"shard-{self.number:05d}.log"


class Rank(NamedTuple):
    """An item's place in the order of quality: the greater the better, of equals the earlier item."""

    score: float
    negative_index: int

    @classmethod
    def of(cls, index: int, score: float) -> Self:
        """The place of item `index`."""
        return cls(score, -index)


class Entry(NamedTuple):
    """What a record says, without meta and blobs."""

    item: int
    score: float | None
    reason: str | None  # None: finished
    blob_bytes: int  # 0 too when the image was dropped from the ranking


class Record(NamedTuple):
    """A whole record."""

    entry: Entry
    meta: dict[str, Any]
    label: list[float] | None
    blobs: list[bytes]


def plan_shards(total: int, size: int) -> list[Shard]:
    """Cut `total` items into shards of `size`."""
    starts = range(0, total, size)
    return [Shard(number, start, min(start + size, total)) for number, start in enumerate(starts)]


def write_shard(
    task: Task, shard: Shard, folder: Path, floor: Rank | None, report: Callable[[Entry], None]
) -> None:
    """Do the items of `shard` that its log does not hold yet, then rename the log.

    Args:
        floor: The worst place that still enters the result, when known: images below it are scored
            and recorded without their blobs.
        report: Called after each record.
    """
    if (folder / shard.file_name).exists():  # completed by a worker that could not say so any more
        return
    part = folder / (shard.file_name + ".part")
    with ShardLog(part) as log:
        done = {entry.item for entry in log.entries}
        for index in range(shard.start, shard.stop):
            if index not in done:
                report(log.append(index, attempt(task, index), floor))
    os.replace(part, folder / shard.file_name)
    sync_directory(folder)


def attempt(task: Task, index: int) -> Finished | Skipped:
    """Do one item; whatever goes wrong with it is a reason, and not the end of the job unless it asks."""
    try:
        outcome = task.process(index)
    except StopJob:
        raise
    except (ToolError, OSError) as err:
        return Skipped(str(err))
    except Exception as err:  # a bug that one picture brings out must not end days of work
        return Skipped(f"unexpected {type(err).__name__}: {err}")
    if isinstance(outcome, Finished) and outcome.score is not None and not np.isfinite(outcome.score):
        return Skipped(f"its score is {outcome.score}")
    return outcome


class ShardLog:
    """A growing shard log: opening it cuts a torn end off, closing it forces it to disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self.entries, intact = _scan(path)
        os.truncate(path, intact)
        self._file = path.open("ab", buffering=0)
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._sync()

    def append(self, index: int, outcome: Finished | Skipped, floor: Rank | None = None) -> Entry:
        """Add a record."""
        if isinstance(outcome, Skipped):
            record = Record(Entry(index, None, outcome.reason, 0), {}, None, [])
        else:
            score = None if outcome.score is None else float(outcome.score)
            enters = floor is None or score is None or Rank.of(index, score) >= floor
            blobs = list(outcome.blobs) if enters else []
            meta = {name: _plain(value) for name, value in outcome.meta.items()}
            label = None if outcome.label is None else outcome.label.tolist()
            record = Record(Entry(index, score, None, sum(map(len, blobs))), meta, label, blobs)
        rest = memoryview(encode_record(record))
        try:
            while rest:  # one call, unless the disk runs full
                rest = rest[self._file.write(rest) :]
            if time.monotonic() - self._synced >= SYNC_INTERVAL_SEC:
                self._sync()
        except OSError as err:  # a full disk, most likely
            raise ToolError(f"{self.path}: {err.strerror}; run the same command again to go on") from err
        return record.entry

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()


def encode_record(record: Record) -> bytes:
    """One record as bytes."""
    entry = record.entry
    fields: dict[str, Any] = {"item": entry.item, "score": entry.score, "reason": entry.reason}
    fields |= {"meta": record.meta, "label": record.label, "sizes": [len(blob) for blob in record.blobs]}
    head = json.dumps(fields, separators=(",", ":")).encode()  # ASCII: file names may not be UTF-8
    body = b"".join(record.blobs)
    return PREFIX.pack(MAGIC, len(head), len(body), zlib.crc32(head), zlib.crc32(body)) + head + body


def read_entries(path: Path) -> list[Entry]:
    """The entries of a shard log, complete or growing; blobs are passed over, a torn end is left out."""
    return _scan(path)[0]


def read_records(path: Path) -> Iterator[Record]:
    """Whole records of a complete shard log, checksums verified.

    Raises:
        FormatError: The file was damaged after it was written.
    """
    remedy = "delete it and run the same command again: its images are made anew"
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while file.tell() < size:
            found = _read_header(file)
            body = file.read(found.body_bytes) if found else b""
            if found is None or len(body) != found.body_bytes or zlib.crc32(body) != found.body_crc:
                raise FormatError(f"{path}: damaged since it was written; {remedy}")
            blobs, start = [], 0
            for length in found.fields["sizes"]:
                blobs.append(body[start : start + length])
                start += length
            yield Record(_entry(found.fields), found.fields["meta"], found.fields["label"], blobs)


def compact_shard(path: Path, dropped: set[int]) -> None:
    """Rewrite a complete log without the blobs of `dropped` items."""
    smaller = path.with_name(path.name + ".smaller")
    with smaller.open("wb") as file:
        for record in read_records(path):
            if record.entry.item in dropped:
                record = record._replace(blobs=[])
            file.write(encode_record(record))
        file.flush()
        os.fsync(file.fileno())
    os.replace(smaller, path)
    sync_directory(path.parent)


class _Header(NamedTuple):
    fields: dict[str, Any]
    bytes: int  # of the whole record
    body_bytes: int
    body_crc: int


def _scan(path: Path) -> tuple[list[Entry], int]:
    """Entries of all intact records, and the length of the file up to the last of them."""
    growing = path.suffix == ".part"  # a complete log was synced; its blobs are checked when they are used
    entries: list[Entry] = []
    intact = 0
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while (header := _read_header(file)) is not None and file.tell() + header.body_bytes <= size:
            if growing and zlib.crc32(file.read(header.body_bytes)) != header.body_crc:
                break
            entries.append(_entry(header.fields))
            intact += header.bytes
            file.seek(intact)
    return entries, intact


def _read_header(file: BinaryIO) -> _Header | None:
    prefix = file.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    magic, head_bytes, body_bytes, head_crc, body_crc = PREFIX.unpack(prefix)
    if magic != MAGIC:
        return None
    head = file.read(head_bytes)
    if len(head) != head_bytes or zlib.crc32(head) != head_crc:
        return None
    return _Header(json.loads(head), PREFIX.size + head_bytes + body_bytes, body_bytes, body_crc)


def _entry(fields: dict[str, Any]) -> Entry:
    return Entry(fields["item"], fields["score"], fields["reason"], sum(fields["sizes"]))


def _plain(value: Any) -> Any:
    """Arrays and NumPy numbers as JSON values."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
