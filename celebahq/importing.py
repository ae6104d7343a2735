"""`celebahq import`: a data set that exists in another form, as a pyramid file.

Through the same machinery as `celebahq build`: resumable, in parallel, every image that cannot be used
listed with its reason.
"""

from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from celebahq.console import status
from celebahq.errors import ToolError
from celebahq.jobs.disk import require_space
from celebahq.jobs.engine import choose_engine
from celebahq.jobs.job import JobReport, require_new_output, run_job
from celebahq.jobs.shards import Finished, Skipped, Task
from celebahq.pyramid import PyramidReader, encode_image
from celebahq.report import TILE_PX, BuildReport, Skip, Tile, write_report
from celebahq.sources.image_set import ImageSet, ImportOptions, open_images

SHOWN_IMAGES, SHOWN_SKIPS = 64, 24


@dataclass(frozen=True)
class ImportRequest:
    """What `celebahq import` is asked for."""

    source: str
    """A name from `celebahq.sources.importable`."""
    path: Path
    out: Path
    options: ImportOptions = field(default_factory=ImportOptions)
    max_images: int | None = None
    """Only the first images of the source."""
    codec: str = "gzip"
    workers: int | None = None
    cluster: str | None = None


def import_images(request: ImportRequest) -> BuildReport:
    """Make the data set, or continue making it; `build-report.json` and `.html` beside it.

    Raises:
        ToolError: The source is not what it must be, the output exists, or the disk is too small.
    """
    task = open_source(request)
    images = task.images
    colours = "grey" if images.channels == 1 else "RGB"
    status(f"{request.path}: {len(task):,} images {images.resolution}x{images.resolution} {colours}")
    require_space(request.out, len(task), None, images.resolution, request.codec)
    reports: list[BuildReport] = []
    run_job(
        task,
        request.out,
        resolution=images.resolution,
        channels=images.channels,
        engine=choose_engine(request.workers, request.cluster),
        codec=request.codec,
        provenance=task.fingerprint(),
        finish=lambda job: reports.append(_report(request, task, job)),
    )
    return reports[0]


def open_source(request: ImportRequest) -> "ImportTask":
    """Look at what is on disk; fails where the import would fail at once."""
    require_new_output(request.out)
    return ImportTask(open_images(request.source, request.path, request.options), request)


def configuration(request: ImportRequest) -> dict[str, Any]:
    """What an import would do, for `--dry-run`."""
    task = open_source(request)
    return {
        "out": str(request.out),
        "path": str(request.path),
        "resolution": task.images.resolution,
        "channels": task.images.channels,
        **task.fingerprint(),
        "codec": request.codec,
        **choose_engine(request.workers, request.cluster).facts(),
    }


class ImportTask(Task):
    """One image of a source at a time."""

    name = "import"

    def __init__(self, images: ImageSet, request: ImportRequest) -> None:
        self.images, self.codec = images, request.codec
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

    def __len__(self) -> int:
        return self._count

    def fingerprint(self) -> dict[str, Any]:
        """What the file depends on."""
        return self._facts

    def start(self) -> None:
        """Open the source."""
        self.images.load()

    def process(self, index: int) -> Finished | Skipped:
        """Encode one image."""
        name = self.images.image_name(index)
        try:
            example = self.images.read(index)
        except ToolError as err:
            return Skipped(str(err).removeprefix(f"{name}: "))  # the report has the name already
        meta = {"source_name": name, "orig_idx": index, **example.meta}
        return Finished(encode_image(example.image, self.codec), meta, example.label)

    def item_name(self, index: int) -> str:
        """The image's name in its source."""
        return self.images.image_name(index)


def _report(request: ImportRequest, task: ImportTask, job: JobReport) -> BuildReport:
    skipped = [Skip(task.item_name(i), "import", why, failure=True) for i, why in job.skipped.items()]
    report = BuildReport(
        out=request.out,
        parameters=task.fingerprint(),
        counts={
            "images in the source": len(task.images),
            "tried": job.total,
            "skipped for an error": len(skipped),
            "written": len(job.kept),
        },
        notices=[],
        ranking=[],
        skipped=skipped,
        elapsed_sec=job.elapsed_sec,
        images_per_sec=(job.total - job.resumed) / max(job.elapsed_sec, 1e-9),
    )
    sections = {
        "Images, evenly spread over the file": _tiles(request.out),
        "Skipped": [Tile(None, f"{skip.name}: {skip.reason}") for skip in skipped[:SHOWN_SKIPS]],
    }
    write_report(report, sections)
    return report


def _tiles(path: Path) -> list[Tile]:
    with PyramidReader(path) as reader:
        shown = min(SHOWN_IMAGES, len(reader))
        indices = [i * len(reader) // shown for i in range(shown)]
        images = reader.read(indices, min(TILE_PX, reader.resolution))  # [n, C, r, r]
    pictures = np.broadcast_to(images, (shown, 3, *images.shape[2:])).transpose(0, 2, 3, 1)
    return [Tile(picture, f"image {index:,}") for index, picture in zip(indices, pictures, strict=True)]
