"""At which item a worker is, on disk: so that whoever comes after a dead one knows at what it died."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from celebahq.console import format_duration
from celebahq.jobs.logs import named_trouble

MAX_DEATHS = 5  # of worker processes at one item, before it is given up
MAX_OVERTIMES = 2  # of attempts at one item that took longer than allowed


@dataclass(frozen=True)
class Attempt:
    """An attempt at an item that may be the last thing that a worker does."""

    run: str
    """Token of the run; a kill of the whole command is no fault of the item."""
    item: int
    began: float
    """Seconds since the epoch."""
    deaths: int = 0
    """Of workers of this run at this item, before."""
    overtimes: int = 0
    """How many of them had taken longer than allowed."""


class Attempts:
    """The attempts at a shard's items, in a small file that is there while a worker is at the shard."""

    def __init__(self, path: Path, file: BinaryIO, run: str, limit_sec: float | None) -> None:
        self._path, self._file, self._run, self._limit_sec = path, file, run, limit_sec
        self._last = _read(file)

    def begin(self, item: int) -> str | None:
        """Note that a worker is about to do an item; gives the reason why it should not, if there is one."""
        attempt = Attempt(self._run, item, time.time())
        last, self._last = self._last, None
        if last and (last.run, last.item) == (self._run, item):
            overtime = self._limit_sec is not None and attempt.began - last.began >= self._limit_sec
            attempt = replace(attempt, deaths=last.deaths + 1, overtimes=last.overtimes + overtime)
        if self._limit_sec is not None and attempt.overtimes >= MAX_OVERTIMES:
            return f"not done within {format_duration(self._limit_sec)} (--item-timeout)"
        if attempt.deaths >= MAX_DEATHS:
            return f"{MAX_DEATHS} worker processes died at it (out of memory, or a crash in a library)"
        self._write(json.dumps(asdict(attempt)))
        return None

    def end(self) -> None:
        """Note that the worker is alive, though the item is not done."""
        self._write("")

    def _write(self, text: str) -> None:
        with named_trouble(self._path):
            self._file.seek(0)
            self._file.write(text.encode())
            self._file.truncate()


@contextmanager
def attempts_at(log: Path, run: str, limit_sec: float | None) -> Iterator[Attempts]:
    """The attempts beside a growing log; the file is removed when the worker ends, and stays if it dies."""
    path = log.with_suffix(".trying")
    with path.open("a+b"):  # made if it is not there
        pass
    with path.open("r+b", buffering=0) as file:
        try:
            yield Attempts(path, file, run, limit_sec)
        finally:
            path.unlink()


def _read(file: BinaryIO) -> Attempt | None:
    try:
        return Attempt(**json.loads(file.read()))
    except (ValueError, TypeError):  # empty, or torn by a kill
        return None
