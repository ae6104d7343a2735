"""Append-only shard logs: what a long job has finished, image by image.

Whoever works on a shard appends one checksummed record per item to `shard-NNNNN.log.part`, seals the log
when the last item is in, and renames it to `shard-NNNNN.log`. A killed process loses the item it was at and
nothing else: the next one cuts a torn record off the end of the log and goes on after it.
"""

import hashlib
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from celebahq.errors import FormatError, ToolError
from celebahq.files import sync_directory
from celebahq.jobs.log_format import (
    OPENING,
    RECORD,
    SEAL,
    Header,
    encode,
    encode_record,
    encode_seal,
    read_headers,
    split_blobs,
)
from celebahq.jobs.shards import Entry, Rank, Record, Shard, plain_label
from celebahq.jobs.task import Finished, Skipped

SYNC_INTERVAL_SEC = 5.0


class LogPlace(NamedTuple):
    """Where a shard's log is, and whose it is."""

    folder: Path
    job: str
    """Digest of the job's parameters."""
    shard: Shard

    @property
    def complete(self) -> Path:
        """The log when all items are in."""
        return self.folder / self.shard.file_name

    @property
    def growing(self) -> Path:
        """The log until then."""
        return self.folder / (self.shard.file_name + ".part")

    def opening(self) -> bytes:
        """How the log begins."""
        return encode(OPENING, {"job": self.job, "shard": self.shard.number})


class ShardLog:
    """A growing shard log: opening it cuts a torn end off, closing it forces it to disk."""

    def __init__(self, place: LogPlace) -> None:
        """Go on after the last intact record; a log that is not this job's and shard's is begun anew."""
        self.place = place
        with place.growing.open("ab"):
            pass
        records = _growing_records(place)
        self._done = {record.item for record in records}
        self._digest = hashlib.sha256(place.opening())
        for record in records:
            self._digest.update(record.head)
        with named_trouble(place.growing):
            if records:
                os.truncate(place.growing, records[-1].end)
            else:
                place.growing.write_bytes(place.opening())
                sync_directory(place.folder)
        self._file = place.growing.open("ab", buffering=0)
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._sync()

    def missing(self) -> list[int]:
        """The shard's items that are not in yet, in their order."""
        return [item for item in self.place.shard.items if item not in self._done]

    def append(self, index: int, outcome: Finished | Skipped, floor: Rank | None = None) -> Entry:
        """Add a record; that of an image below the floor without its blobs."""
        record = _record(index, outcome, floor)
        data = encode_record(record)
        self._digest.update(data[: len(data) - record.entry.blob_bytes])
        self._write(data)
        self._done.add(index)
        if time.monotonic() - self._synced >= SYNC_INTERVAL_SEC:
            self._sync()
        return record.entry

    def seal(self) -> None:
        """Say that all is in, and give the log its final name."""
        assert not self.missing()
        self._write(encode_seal(len(self._done), self._digest.hexdigest()))
        self._sync()
        os.replace(self.place.growing, self.place.complete)
        sync_directory(self.place.folder)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        with named_trouble(self.place.growing):
            while rest:  # one call, unless the disk runs full
                rest = rest[self._file.write(rest) :]

    def _sync(self) -> None:
        with named_trouble(self.place.growing):
            os.fsync(self._file.fileno())
        self._synced = time.monotonic()


@contextmanager
def named_trouble(path: Path) -> Iterator[None]:
    """A log that cannot be written is no fault of the item: the disk is full, most likely."""
    try:
        yield
    except OSError as err:
        raise ToolError(path, f"{err.strerror}; run the same command again to go on") from err


def read_entries(path: Path) -> list[Entry]:
    """What the intact records of any shard log say, complete or growing; a torn end is left out."""
    with path.open("rb") as file:
        return [header.entry() for header in read_headers(file) if header.magic == RECORD]


class Look(NamedTuple):
    """What a record says, and where its images are."""

    entry: Entry
    meta: dict[str, Any]
    path: Path
    start: int
    """Offset of the first image in the file."""
    sizes: list[int]
    """Bytes of each level's image; none where they were dropped."""

    def blob(self, level: int) -> bytes | None:
        """The image of one level, counted from the largest; None where the log was changed meanwhile."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                body = file.read(sum(self.sizes))
        except FileNotFoundError:
            return None
        return list(split_blobs(body, self.sizes))[level] if self.sizes else None


def look_into(path: Path) -> list[Look]:
    """The intact records of any shard log as `read_entries` takes them; none where it is gone."""
    try:
        with path.open("rb") as file:
            return [
                Look(
                    header.entry(),
                    header.fields["meta"],
                    path,
                    header.end - header.body_bytes,
                    header.fields["sizes"],
                )
                for header in read_headers(file)
                if header.magic == RECORD
            ]
    except FileNotFoundError:  # complete by now, under its other name
        return []


def read_growing(place: LogPlace) -> list[Entry]:
    """What a growing log holds; nothing where it is another job's or shard's."""
    return [record.entry() for record in _growing_records(place)]


def read_complete(place: LogPlace) -> list[Entry]:
    """What a complete log holds: every item of the shard once. Blobs are passed over.

    Raises:
        FormatError: The file was damaged after it was written, or is not this job's and shard's.
    """
    return [record.entry() for record in _sealed_records(place)]


def read_records(place: LogPlace) -> Iterator[Record]:
    """Whole records of a complete log in the items' order, checksums verified.

    Raises:
        FormatError: The file was damaged after it was written, or is not this job's and shard's.
    """
    return _with_blobs(place, place.complete, _sealed_records(place))


def read_intact(place: LogPlace) -> Iterator[Record]:
    """Whole records of a log, complete or growing or missing, as far as they are intact.

    Raises:
        FormatError: A complete log was damaged after it was written.
    """
    if place.complete.exists():
        yield from read_records(place)
    elif place.growing.exists():
        yield from _with_blobs(place, place.growing, _growing_records(place))


def read_facts(place: LogPlace) -> Iterator[Record]:
    """Records of a complete log in the items' order, without their blobs.

    Raises:
        FormatError: The file was damaged after it was written, or is not this job's and shard's.
    """
    for header in sorted(_sealed_records(place), key=lambda header: header.item):
        yield header.record(b"")


def write_log(place: LogPlace, records: Iterator[Record]) -> None:
    """Write a complete log, on disk, in the place of the one that may be there."""
    smaller = place.complete.with_name(place.complete.name + ".smaller")
    _rewrite(place, records, smaller, sealed=True)
    os.replace(smaller, place.complete)
    sync_directory(place.folder)


def compact_shard(place: LogPlace, dropped: set[int]) -> None:
    """Rewrite a complete log without the blobs of `dropped` items."""
    records = (
        record._replace(blobs=[]) if record.entry.item in dropped else record
        for record in read_records(place)
    )
    write_log(place, records)


def drop_images(place: LogPlace) -> None:
    """Rewrite a complete log without images: they are somewhere else by now. They are not read."""
    if any(header.body_bytes for header in _sealed_records(place)):
        write_log(place, read_facts(place))


def reopen_shard(place: LogPlace, dropped: set[int], *, complete: bool) -> None:
    """Make a log, complete or growing, a growing one without the records of `dropped` items."""
    path = place.complete if complete else place.growing
    records = _with_blobs(place, path, _sealed_records(place) if complete else _growing_records(place))
    smaller = place.growing.with_name(place.growing.name + ".smaller")
    _rewrite(place, (record for record in records if record.entry.item not in dropped), smaller, sealed=False)
    os.replace(smaller, place.growing)
    if complete:
        place.complete.unlink()  # until now it is what counts
    sync_directory(place.folder)


def _rewrite(place: LogPlace, records: Iterator[Record], path: Path, *, sealed: bool) -> None:
    """Write a log with the given records, on disk."""
    digest, count = hashlib.sha256(place.opening()), 0
    with named_trouble(path), path.open("wb") as file:
        file.write(place.opening())
        for record in records:
            count += 1
            data = encode_record(record)
            digest.update(data[: len(data) - sum(map(len, record.blobs))])
            file.write(data)
        if sealed:
            file.write(encode_seal(count, digest.hexdigest()))
        file.flush()
        os.fsync(file.fileno())


def _with_blobs(place: LogPlace, path: Path, headers: list[Header]) -> Iterator[Record]:
    """Read the blobs behind headers, in the items' order."""
    with path.open("rb") as file:
        for header in sorted(headers, key=lambda header: header.item):
            file.seek(header.end - header.body_bytes)
            body = file.read(header.body_bytes)
            if len(body) != header.body_bytes or zlib.crc32(body) != header.body_crc:
                raise _damaged(place)
            yield header.record(body)


def _growing_records(place: LogPlace) -> list[Header]:
    """The intact records of a log that is not sealed: up to the first that does not belong there."""
    with place.growing.open("rb") as file:
        headers = list(read_headers(file, verify_blobs=True))
    if not headers or headers[0].head != place.opening():
        return []
    records: list[Header] = []
    expected = set(place.shard.items)
    for header in headers[1:]:
        if header.magic != RECORD or header.item not in expected:
            break
        expected.remove(header.item)
        records.append(header)
    return records


def _sealed_records(place: LogPlace) -> list[Header]:
    """The records of a complete log, if they are what its seal says."""
    with place.complete.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        headers = list(read_headers(file))
    if len(headers) < 2 or headers[-1].magic != SEAL or headers[-1].end != size:
        raise _damaged(place)
    opening, *records, seal = headers
    digest = hashlib.sha256(b"".join(header.head for header in headers[:-1])).hexdigest()
    if (
        opening.head != place.opening()
        or seal.fields != {"records": len(records), "sha256": digest}
        or any(record.magic != RECORD for record in records)
        or sorted(record.item for record in records) != list(place.shard.items)
    ):
        raise _damaged(place)
    return records


def _damaged(place: LogPlace) -> FormatError:
    return FormatError(
        place.complete,
        "damaged since it was written, or not of this job; delete it and run the same "
        "command again: its images are made anew",
    )


def _record(index: int, outcome: Finished | Skipped, floor: Rank | None) -> Record:
    if isinstance(outcome, Skipped):
        return Record(Entry(index, None, outcome.reason, 0), {}, None, [])
    score = None if outcome.score is None else float(outcome.score)
    enters = floor is None or score is None or Rank.of(index, score) >= floor
    blobs = list(outcome.blobs) if enters else []
    meta = {name: _plain(value) for name, value in outcome.meta.items()}
    label = None if outcome.label is None else plain_label(outcome.label)
    return Record(Entry(index, score, None, sum(map(len, blobs))), meta, label, blobs)


def _plain(value: Any) -> Any:
    """Arrays and NumPy numbers as JSON values."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
