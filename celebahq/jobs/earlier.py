"""Records of a job whose list of items has changed since: set aside, then used where the content is the same.

A job whose items are known by their content (`Task.key`) writes the keys beside its parameters. When photos
were added, removed or renamed, its logs move to `earlier/N`, and what they hold of items that are still
there is written into the new job's logs before it begins. A kill on the way loses nothing: the move is
finished, or the writing goes on, at the next start. What `celebahq.jobs.records` has kept of a job that has
ended is used in the same way.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from celebahq.files import make_folder, read_json, sync_directory, write_json
from celebahq.jobs.logs import LogPlace, ShardLog, read_intact
from celebahq.jobs.parameters import PARAMETERS, changes
from celebahq.jobs.records import KEYS, EarlierRecords, log_places
from celebahq.jobs.shards import Record, label_row
from celebahq.jobs.task import Finished, Task

log = logging.getLogger(__name__)

EARLIER = "earlier"


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


def use_earlier(
    task: Task, places: Sequence[LogPlace], folder: Path, finished: EarlierRecords | None = None
) -> None:
    """Write what earlier jobs have finished of a task's items into its logs, and remove what was set aside.

    Args:
        task: The new one.
        places: Of its shards, in their order.
        folder: Of the job.
        finished: Of a job that has ended.
    """
    aside = sorted(folder.glob(f"{EARLIER}/*"), key=lambda path: -int(path.name))  # the latest first
    sources = [EarlierRecords(path) for path in aside if (path / KEYS).exists()]
    sources += [finished] if finished else []
    if sources:
        items = _items_by_content(task, sources)
        with _Logs(places) as logs:
            for source in sources:
                for key, record in finished_items(source.folder):
                    for index in {*items.get(key, ()), *items.get(task.recorded_content(record.meta), ())}:
                        if logs.lacks(index):
                            logs.add(index, task.reuse(index, _result(record, source)))
    shutil.rmtree(folder / EARLIER, ignore_errors=True)


def _items_by_content(task: Task, sources: Sequence[EarlierRecords]) -> dict[str | None, list[int]]:
    """A task's items by their key; by their content, which takes longer to know, where the key is new."""
    known = {key for source in sources for key in read_json(source.folder / KEYS)["keys"]}
    items: dict[str | None, list[int]] = {}
    for index in range(len(task)):
        key = task.key(index)
        items.setdefault(key if key in known else task.content(index), []).append(index)
    items.pop(None, None)
    return items


def finished_items(folder: Path) -> Iterator[tuple[str, Record]]:
    """Key and record of every finished item of a job."""
    keys = read_json(folder / KEYS)["keys"]
    for place in log_places(folder):
        for record in read_intact(place):
            if record.entry.reason is None:
                yield keys[record.entry.item], record


def _result(record: Record, source: EarlierRecords) -> Finished:
    label = None if record.label is None else label_row(record.label)
    return Finished(source.images(record), record.meta, label, record.entry.score)


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

    def lacks(self, index: int) -> bool:
        """Whether an item's log does not have it; opens that log."""
        place = self._places[index // len(self._places[0].shard.items)]
        if self._open is None or self._open.place != place:
            self.__exit__()
            self._open = ShardLog(place)
            self._missing = set(self._open.missing())
        return index in self._missing

    def add(self, index: int, finished: Finished) -> None:
        """Append to the open log what it lacks."""
        assert self._open is not None
        self._open.append(index, finished)
        self._missing.remove(index)
