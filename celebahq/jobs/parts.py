"""The last stage of a job whose data set is several files: workers write them, each from some shards' logs.

The files grow in the scratch folder, `OUT.work/parts`, which becomes `OUT` when all are there and the
manifest lists them. A log loses its images as soon as they are in a file, so that the images take their
space once, and the files in work besides. Which shards go into which file is written down before the first
log is touched; from then on no image of the job is made again, or dropped.
"""

import errno
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celebahq.errors import ToolError
from celebahq.files import make_folder, read_json, sync_directory, write_json, write_text
from celebahq.jobs.engine import Engine
from celebahq.jobs.job import PLAN, WRITING, Job
from celebahq.jobs.logs import LogPlace, drop_images, read_records
from celebahq.jobs.options import JobOptions
from celebahq.jobs.progress import Progress, Stage
from celebahq.jobs.scratch import MERGING, REPLACING, Scratch
from celebahq.jobs.task import Finished, Task
from celebahq.jobs.wanted import Wanted
from celebahq.pyramid import MANIFEST, Manifest, Part, PyramidWriter, write_manifest

PARTS, REPLACED = "parts", "replaced"
GIGABYTE = 10**9


def write_parts(
    job: Job, out: Path, wanted: Wanted, shard_size: float, engine: Engine, progress: Progress
) -> None:
    """Write the images of a completed job as files of about `shard_size` GB, and the manifest.

    Raises:
        ToolError: A file could not be written, or a log was damaged; the same command goes on.
    """
    scratch = job.scratch
    plan, folder = scratch.folder / PLAN, scratch.folder / PARTS
    if not plan.exists():
        write_json(plan, {"last_shards": plan_parts(job.shard_bytes(wanted.items), shard_size * GIGABYTE)})
    ends = read_json(plan)["last_shards"]
    make_folder(folder)
    places = [job.places[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    task = PartsTask(folder, wanted, places)
    writing = Job(task, scratch.stage(WRITING), options=JobOptions(item_timeout=None, retry_skipped=True))
    images = int(wanted.items.sum())

    def in_images(stage: Stage) -> None:
        progress(Stage("write", images * stage.done // stage.total, images))

    writing.run(engine, in_images)
    for number, reason in writing.report().skipped.items():
        raise ToolError(out, f"not written, for {task.item_name(number)} cannot be: {reason}")
    parts = tuple(Part(**record.meta) for record in writing.records())
    for part in parts:
        if not (folder / part.file).is_file():
            raise ToolError(
                out,
                f"not written, for {part.file} is gone from {folder}, and the logs have no images any more; "
                f"remove {scratch.folder.name} and begin anew",
            )
    write_manifest(Manifest(folder / MANIFEST, wanted.provenance, parts))
    _publish(scratch, folder, out)


def plan_parts(shard_bytes: Sequence[int], part_bytes: float) -> list[int]:
    """Cut a row of shards into runs of at most `part_bytes`, but of one shard at least.

    Returns:
        The number after the last shard of each run. Shards without images make no run of their own.
    """
    ends: list[int] = []
    filled = 0
    for number, size in enumerate(shard_bytes):
        if filled and filled + size > part_bytes:
            ends.append(number)
            filled = 0
        filled += size
    return [*ends, len(shard_bytes)]


class PartsTask(Task):
    """Write one of the files."""

    name = "write files"

    def __init__(self, folder: Path, wanted: Wanted, places: Sequence[Sequence[LogPlace]]) -> None:
        """Args: `places` are those of the logs that each file is written from."""
        self.folder, self.wanted, self.places = folder, wanted, places

    def __len__(self) -> int:
        return len(self.places)

    def item_name(self, index: int) -> str:
        """The file's name."""
        return f"part-{index:05d}.h5"

    def fingerprint(self) -> dict[str, Any]:
        """What the files depend on."""
        wanted = hashlib.sha256(self.wanted.items.tobytes() + self.wanted.ranks.tobytes())
        return {"shards": [len(places) for places in self.places], "wanted": wanted.hexdigest()}

    def process(self, index: int) -> Finished:
        """Write a file, unless an earlier worker could not say any more that it has."""
        path = self.folder / self.item_name(index)
        if path.name not in os.listdir(self.folder):  # a look-up might be answered from a client's memory
            with self.wanted.writer(path) as writer:
                for place in self.places[index]:
                    self._copy(place, writer)
        for place in self.places[index]:
            drop_images(place)
        return Finished([], vars(Part.of(path)))

    def _copy(self, place: LogPlace, writer: PyramidWriter) -> None:
        for record in read_records(place):
            if self.wanted.items[record.entry.item] and not record.blobs:
                # Another worker has written the file, and died; its name is not seen from here yet.
                raise OSError(errno.ESTALE, "its images are in a file that is not there", str(place.complete))
            self.wanted.add(writer, record)


def _publish(scratch: Scratch, folder: Path, out: Path) -> None:
    """Give the finished folder its name."""
    sync_directory(folder)
    if scratch.replaces(out):
        os.replace(out, scratch.folder / REPLACED)  # goes with the scratch
        (scratch.folder / REPLACING).unlink()
    write_text(scratch.folder / MERGING, "")
    os.replace(folder, out)
    sync_directory(out.parent)
