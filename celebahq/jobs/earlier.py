"""Records of a job whose list of items has changed since: set aside, then used where the content is the same.

A job whose items are known by their content (`Task.key`) writes the keys beside its parameters. When photos
were added, removed or renamed, its logs move to `earlier/N`, and what they hold of items that are still
there is written into the new job's logs before it begins. A kill on the way loses nothing: the move is
finished, or the writing goes on, at the next start.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from celebahq.files import make_folder, read_json, sync_directory, write_json
from celebahq.jobs.logs import LogPlace, ShardLog, read_intact
from celebahq.jobs.parameters import PARAMETERS, changes, digest_of
from celebahq.jobs.shards import Record, plan_shards
from celebahq.jobs.task import Finished, Task

log = logging.getLogger(__name__)

KEYS, EARLIER = "keys.json", "earlier"


def make_way(folder: Path, parameters: dict[str, Any], task: Task, shard_size: int) -> None:
    """Set a job aside that differs in its list of items alone, and write down a new one's keys.

    Args:
        folder: Of the job.
        parameters: Of the new one.
        task: The new one.
        shard_size: Its items to a shard.
    """
    changed = changes(folder, parameters).keys()
    if changed and changed <= {"items", *task.listing}:
        log.info("%s: there are other items than before; what was done is used", task.name)
        set_aside(folder)
    keys = [task.key(index) for index in range(len(task))]
    if not (folder / PARAMETERS).exists() and None not in keys:
        write_json(folder / KEYS, {"shard_size": shard_size, "keys": keys})


def set_aside(folder: Path) -> None:
    """Move a job's records away; its parameters last, so that a move that was cut short is gone on with."""
    done = [path for path in folder.glob(f"{EARLIER}/*") if (path / PARAMETERS).exists()]
    aside = folder / EARLIER / str(len(done))
    make_folder(aside)
    for path in (*sorted(folder.glob("shard-*")), folder / KEYS, folder / PARAMETERS):
        if path.exists():
            os.replace(path, aside / path.name)
    sync_directory(aside)
    sync_directory(folder)


def use_earlier(task: Task, places: Sequence[LogPlace], folder: Path) -> None:
    """Write what earlier jobs have finished of a task's items into its logs, and remove the rest.

    Args:
        task: The new one.
        places: Of its shards, in their order.
        folder: Of the job.
    """
    if not (folder / EARLIER).exists():
        return
    items: dict[str | None, list[int]] = {}
    for index in range(len(task)):
        items.setdefault(task.key(index), []).append(index)
    with _Logs(places) as logs:
        for key, record in _finished_earlier(folder / EARLIER):
            label = None if record.label is None else np.asarray(record.label, np.float32)
            finished = Finished(record.blobs, record.meta, label, record.entry.score)
            for index in items.get(key, ()):
                logs.add(index, task.reuse(index, finished))
    shutil.rmtree(folder / EARLIER)


def _finished_earlier(folder: Path) -> Iterator[tuple[str, Record]]:
    """Key and record of every finished item of the jobs that were set aside, the latest job first."""
    for aside in sorted(folder.iterdir(), key=lambda path: -int(path.name)):
        if not (aside / KEYS).exists():
            continue
        known, job = read_json(aside / KEYS), digest_of(read_json(aside / PARAMETERS))
        keys = known["keys"]
        for shard in plan_shards(len(keys), known["shard_size"]):
            for record in read_intact(LogPlace(aside, job, shard)):
                if record.entry.reason is None:
                    yield keys[record.entry.item], record


class _Logs:
    """The logs that records are added to, one open at a time: most come in the order of the items."""

    def __init__(self, places: Sequence[LogPlace]) -> None:
        self._places = places
        self._open: ShardLog | None = None
        self._missing: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)

    def add(self, index: int, finished: Finished) -> None:
        """Append to an item's log what it does not have."""
        place = self._places[index // len(self._places[0].shard.items)]
        if self._open is None or self._open.place != place:
            self.__exit__()
            self._open = ShardLog(place)
            self._missing = set(self._open.missing())
        if index in self._missing:
            self._open.append(index, finished)
            self._missing.remove(index)
