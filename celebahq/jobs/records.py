"""What a finished job leaves beside its file, so that the same command can add to it later.

`OUT.records/STAGE` holds a stage's parameters, the keys of its items and their records: what was found, how
it scored, why it was skipped. The images are not in it, for those that were kept are in the file.
"""

import json
import os
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError, ToolError
from celebahq.files import make_folder, read_json, sync_directory, write_json
from celebahq.jobs.logs import LogPlace, read_facts, write_log
from celebahq.jobs.parameters import PARAMETERS, changes, describe_changes, digest_of
from celebahq.jobs.scratch import Scratch
from celebahq.jobs.shards import Record, Shard, plan_shards
from celebahq.pyramid import PyramidReader, encoded_levels, require_whole

KEYS = "keys.json"
ENDING = ".records"


def records_folder(out: Path) -> Path:
    """Where the records of the job that made `out` are: `OUT.records`."""
    return out.with_name(out.name + ENDING)


def can_grow(out: Path) -> bool:
    """Whether a finished file has its records beside it."""
    return out.exists() and records_folder(out).is_dir()


def log_places(folder: Path) -> list[LogPlace]:
    """The logs of a job that may have ended, by what it wrote down itself; none if that is not there."""
    if not (folder / KEYS).exists():
        return []
    known, job = read_json(folder / KEYS), digest_of(read_json(folder / PARAMETERS))
    return [LogPlace(folder, job, shard) for shard in plan_shards(len(known["keys"]), known["shard_size"])]


def keep_records(out: Path, scratch: Scratch, stages: list[str]) -> None:
    """Put the records of a job's stages beside its file, in the place of older ones.

    Args:
        out: The finished file.
        scratch: Of the job; its last stage is the folder itself.
        stages: The earlier ones.
    """
    kept = scratch.folder / "records"
    shutil.rmtree(kept, ignore_errors=True)
    for stage in (*stages, ""):
        _keep_stage(scratch.folder / stage, kept / (stage or "images"))
    shutil.rmtree(records_folder(out), ignore_errors=True)
    os.replace(kept, records_folder(out))
    sync_directory(out.parent)


def _keep_stage(stage: Path, into: Path) -> None:
    """Write a stage's records as those of a job with one shard."""
    make_folder(into)
    places, keys = log_places(stage), read_json(stage / KEYS)["keys"]
    place = LogPlace(into, places[0].job, Shard(0, 0, len(keys)))
    write_log(place, (record for each in places for record in read_facts(each)))
    write_json(into / KEYS, {"shard_size": len(keys), "keys": keys})
    write_json(into / PARAMETERS, read_json(stage / PARAMETERS))
    sync_directory(into)


def _has_skipped(stage: Path) -> bool:
    return any(record.entry.reason is not None for place in log_places(stage) for record in read_facts(place))


class EarlierRecords(NamedTuple):
    """Records of items that another job may have, too."""

    folder: Path
    """With parameters, keys and logs."""
    images: Callable[[Record], list[bytes]] = lambda record: record.blobs
    """Gives a record's blobs."""


class FinishedJob:
    """A job's file and its records, to be added to."""

    def __init__(self, out: Path) -> None:
        """Open them.

        Raises:
            FormatError: The file is damaged, or is not the one that its records are of.
        """
        self.out, self.folder = out, records_folder(out)
        self._file = PyramidReader(out)

    def records(self, stage: str = "images") -> EarlierRecords:
        """Those of a stage, those of the last with their images."""
        folder = self.folder / stage
        return EarlierRecords(folder, self.images) if stage == "images" else EarlierRecords(folder)

    def require_same(self, parameters: dict[str, Any]) -> None:
        """Hold parameters against those that the job had.

        Raises:
            ToolError: They differ; the message says in what.
        """
        before = {**read_json(self.folder / "images" / PARAMETERS), **self._file.provenance}
        changed = {
            name: (before.get(name), value)
            for name, value in json.loads(json.dumps(parameters)).items()
            if before.get(name) != value
        }
        if changed:
            raise ToolError(
                self.out,
                f"exists already, and was made with other parameters ({describe_changes(changed)}); give the "
                "same ones to add to it, or choose another name",
            )

    def require_news(self, stage: str, fingerprint: dict[str, Any], *, retry: bool) -> None:
        """Refuse to do again what was done.

        Args:
            stage: Of which the fingerprint is.
            fingerprint: Of its task now.
            retry: Whether what was skipped counts as news.

        Raises:
            ToolError: The items are those of the finished job.
        """
        folder = self.folder / stage
        if changes(folder, {**read_json(folder / PARAMETERS), **fingerprint}):
            return
        if not retry:
            raise ToolError(self.out, "exists already, and nothing was added since it was made")
        if not any(map(_has_skipped, self.folder.iterdir())):
            raise ToolError(self.out, "nothing was left out: there is nothing to try again")

    def require_all(self, name: str, values: set[str], where: Path) -> None:
        """Hold what the images are made of against what is there now.

        Raises:
            ToolError: Something is gone; to add is not to remove.
        """
        gone = [place for place, value in enumerate(self._column(name)) if value not in values]
        if gone:
            first = self._column("source_name")[gone[0]]
            raise ToolError(
                self.out,
                f"{len(gone):,} of its images are of photos that are not in {where} any more ({first}, ...); "
                "put them back and run the same command again, or make another file: celebahq select leaves "
                "images out, too",
            )

    def images(self, record: Record) -> list[bytes]:
        """The encoded levels of a recorded item; none where the image was not among the best.

        Raises:
            FormatError: The file is damaged, or is not the one that its records are of.
        """
        place = self._places.get(record.entry.item)
        if place is None:
            return []
        if any(not np.array_equal(self._column(name)[place], value) for name, value in record.meta.items()):
            raise FormatError(self.out, f"is not the file that {self.folder.name} describes; remove that")
        return encoded_levels(self._file, place)

    @cached_property
    def _places(self) -> dict[int, int]:
        """The item's number in its job -> the image's in the file, which was read through and found whole."""
        require_whole(self._file)
        return {item: place for place, item in enumerate(self._column("orig_idx").tolist())}

    def _column(self, name: str) -> NDArray[Any]:
        if name not in self._columns:
            self._columns[name] = self._file.meta(name)
        return self._columns[name]

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        return {}
