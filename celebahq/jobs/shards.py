"""Shards, runs of consecutive items of a job, and what is known about the items in them."""

from typing import Any, NamedTuple, Self

import numpy as np


class Shard(NamedTuple):
    """Items `start` .. `stop - 1` of a job."""

    number: int
    start: int
    stop: int

    @property
    def file_name(self) -> str:
        """Name of the complete log; `.part` is added while it grows."""
        return f"shard-{self.number:05d}.log"

    @property
    def items(self) -> range:
        """The items' numbers."""
        return range(self.start, self.stop)


class Rank(NamedTuple):
    """An item's place in the order of quality: the greater the better, of equals the earlier item."""

    score: float
    negative_index: int

    @classmethod
    def of(cls, index: int, score: float) -> Self:
        """The place of item `index`."""
        return cls(score, -index)


class Assignment(NamedTuple):
    """A shard as it is handed to a worker."""

    shard: Shard
    floor: Rank | None = None
    """The worst place that still enters the result, when known: images below it need not be kept."""
    last_try: bool = False
    """Whether errors that may pass are to be recorded now."""


class Entry(NamedTuple):
    """What a record says, without meta and blobs."""

    item: int
    score: float | None
    reason: str | None
    """None: finished."""
    blob_bytes: int
    """0 too when the image was dropped from the ranking."""


class Setback(NamedTuple):
    """An item that could not be done now, for a reason that may pass."""

    item: int
    reason: str


PlainLabel = list[float] | dict[str, int]
"""A label as JSON has it: its numbers; or, of many with a single 1, `{"one": place, "of": length}`."""
LONG_LABEL = 64


def plain_label(label: np.ndarray) -> PlainLabel:
    """`[L]` float32 as JSON."""
    numbers: list[float] = label.tolist()
    if len(numbers) < LONG_LABEL or numbers.count(1.0) != 1 or numbers.count(0.0) != len(numbers) - 1:
        return numbers
    return {"one": numbers.index(1.0), "of": len(numbers)}


def label_row(label: PlainLabel) -> np.ndarray:
    """The same as `[L]` float32."""
    if isinstance(label, list):
        return np.asarray(label, np.float32)
    row = np.zeros(label["of"], np.float32)
    row[label["one"]] = 1
    return row


class Record(NamedTuple):
    """A whole record."""

    entry: Entry
    meta: dict[str, Any]
    label: PlainLabel | None
    blobs: list[bytes]


def plan_shards(total: int, size: int) -> list[Shard]:
    """Cut `total` items into shards of `size`."""
    starts = range(0, total, size)
    return [Shard(number, start, min(start + size, total)) for number, start in enumerate(starts)]
