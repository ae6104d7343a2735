"""`celebahq import`: a data set that exists in another form, as a pyramid file.

Through the same machinery as `celebahq build`: resumable, in parallel, every image that cannot be used
listed with its reason.
"""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from celebahq.jobs.again import Again
from celebahq.jobs.disk import require_space
from celebahq.jobs.engine import choose_engine
from celebahq.jobs.job import image_job
from celebahq.jobs.merge import write_pyramid
from celebahq.jobs.progress import Progress, silent
from celebahq.jobs.report import JobReport
from celebahq.jobs.scratch import require_new_output, scratch_for
from celebahq.jobs.task import Finished, Task
from celebahq.jobs.watch import StageStatus, watching, write_stage
from celebahq.options import ImportRequest
from celebahq.pyramid import PyramidReader, dataset_options, encode_image
from celebahq.report import BuildReport, Skip
from celebahq.report_page import TILE_PX, Tile, write_report
from celebahq.sources.data_set import DataSet, open_data_set
from celebahq.sources.listing import without_name
from celebahq.status_page import write_status_page
from celebahq.threads import processors

log = logging.getLogger(__name__)

ITEM_SEC = 0.01
"""About, of one worker, until it is known."""
SHOWN_IMAGES, SHOWN_SKIPS = 64, 24


def import_dataset(request: ImportRequest, progress: Progress = silent) -> BuildReport:
    """Make a data set from one in another form, or continue making it: what `celebahq import` does.

    `build-report.json` and `.html` are written beside it.

    Args:
        progress: Called as the work goes on. What is to be known besides goes to the logger `celebahq`.

    Raises:
        ToolError: The source is not what it must be, the output exists, or the disk is too small.
    """
    request = request.from_anywhere()
    dataset_options(request.job.codec)  # a missing package is better known now than at every image
    workers = request.job.workers or processors()
    stages = [StageStatus("import", "images", ITEM_SEC / workers), write_stage(request.options.resolution)]
    with (
        watching(request.out, stages, progress, write_status_page) as progress,
        scratch_for(request.out, completing=request.job.retry_skipped) as scratch,
    ):
        task = open_source(request)
        images = task.images
        colours = "grey" if images.channels == 1 else "RGB"
        size = f"{images.resolution}x{images.resolution}"
        log.info("%s: %s images %s %s", request.path, f"{len(task):,}", size, colours)
        require_space(request.out, len(task), None, images.resolution, request.job)
        todo: Task = task
        if scratch.replaces(request.out):
            todo = Again(task, request.out, request.job.codec, task.fingerprint())
        job = image_job(todo, scratch, images.resolution, images.channels, options=request.job)
        engine = choose_engine(request.job.workers, request.job.cluster)
        job.run(engine, progress)
        done = write_pyramid(
            job,
            request.out,
            resolution=images.resolution,
            channels=images.channels,
            provenance=task.fingerprint(),
            engine=engine,
            progress=progress,
        )
        return _report(request, task, done)


def open_source(request: ImportRequest) -> "ImportTask":
    """Look at what is on disk; fails where the import would fail at once."""
    return ImportTask(open_data_set(request.source, request.path, request.options), request)


def configuration(request: ImportRequest) -> dict[str, Any]:
    """What an import would do, for `--dry-run`."""
    require_new_output(request.out)
    task = open_source(request)
    return {
        "out": str(request.out),
        "path": str(request.path),
        "resolution": task.images.resolution,
        "channels": task.images.channels,
        **task.fingerprint(),
        "codec": request.job.codec,
        "shard_size": request.job.shard_size,
        **choose_engine(request.job.workers, request.job.cluster).facts(),
    }


class ImportTask(Task):
    """One image of a source at a time."""

    name = "import"

    def __init__(self, images: DataSet, request: ImportRequest) -> None:
        self.images, self.codec = images, request.job.codec
        self._count = min(len(images), request.max_images or len(images))
        options = {name: getattr(request.options, name) for name in sorted(images.source.options)}
        self._facts: dict[str, Any] = {
            "tool": f"celebahq-toolkit {version('celebahq-toolkit')}",
            "command": "import",
            "source": images.source.name,
            "options": options,
            "images": self._count,
            "data": images.facts(),
        }
        if images.label_names:
            self._facts["label_names"] = list(images.label_names)

    def __len__(self) -> int:
        return self._count

    def fingerprint(self) -> dict[str, Any]:
        """What the file depends on."""
        return self._facts

    def start(self) -> None:
        """Open the source."""
        self.images.load()

    def process(self, index: int) -> Finished:
        """Encode one image."""
        with without_name(self.images.image_name(index)):
            example = self.images.read(index)
        meta = {**self.known(index), **example.meta}
        return Finished(encode_image(example.image, self.codec), meta, example.label)

    def known(self, index: int) -> dict[str, Any]:
        """The image."""
        return {"source_name": self.images.image_name(index), "orig_idx": index}

    def item_name(self, index: int) -> str:
        """The image's name in its source."""
        return self.images.image_name(index)


def _report(request: ImportRequest, task: ImportTask, job: JobReport) -> BuildReport:
    skipped = [Skip(task.item_name(i), "import", why, failure=True) for i, why in job.skipped.items()]
    report = BuildReport(
        out=request.out,
        parameters=task.fingerprint(),
        counts={
            "images_in_the_source": len(task.images),
            "tried": job.total,
            "skipped_for_an_error": len(skipped),
            "written": len(job.kept),
        },
        notices=[],
        ranking=[],
        skipped=skipped,
        elapsed_sec=job.elapsed_sec,
        images_per_sec=job.items_per_sec,
    )
    sections = {
        "Images, evenly spread over the data set": _tiles(request.out, task, job.kept),
        "Skipped": [Tile(None, skip.name, skip.reason) for skip in skipped[:SHOWN_SKIPS]],
    }
    write_report(report, sections)
    return report


def _tiles(path: Path, task: Task, kept: np.ndarray) -> list[Tile]:
    with PyramidReader(path) as reader:
        shown = min(SHOWN_IMAGES, len(reader))
        indices = [i * len(reader) // shown for i in range(shown)]
        images = reader.read(indices, min(TILE_PX, reader.resolution))  # [n, C, r, r]
    pictures = np.broadcast_to(images, (shown, 3, *images.shape[2:])).transpose(0, 2, 3, 1)
    return [
        Tile(picture, task.item_name(int(kept[index])), f"image {index:,}")
        for index, picture in zip(indices, pictures, strict=True)
    ]
