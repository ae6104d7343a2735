"""The first stage of a build: which faces there are, from CelebA's annotations or found in a folder."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from celebahq.align.faces import FaceFinder
from celebahq.errors import ToolError
from celebahq.jobs.engine import Engine
from celebahq.jobs.job import Job
from celebahq.jobs.options import JobOptions
from celebahq.jobs.progress import Progress, silent
from celebahq.jobs.scratch import Scratch
from celebahq.jobs.task import Finished, Task
from celebahq.options import CelebaSource, PhotoSource, Source
from celebahq.report import Skip
from celebahq.sources.celeba import index_celeba, missing_photos
from celebahq.sources.listing import find_photos, names_and_sizes_sha256
from celebahq.sources.photos import (
    Duplicate,
    PhotoFaces,
    find_duplicates,
    find_faces_in,
    index_photos,
)
from celebahq.sources.records import FaceIndex


@dataclass(frozen=True)
class Indexed:
    """The faces to build from, and what was left out on the way to them."""

    faces: FaceIndex
    counts: dict[str, int]  # photos, ... in the order of the stages
    left_out: list[Skip] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def index(
    source: Source,
    scratch: Scratch,
    engine: Engine,
    options: JobOptions | None = None,
    progress: Progress = silent,
) -> Indexed:
    """Find the faces of a source.

    Args:
        scratch: Of the whole build; a part of it remembers this stage, so that it need not be repeated.
        engine: Who looks for faces.

    Raises:
        ToolError: There are none, or the source is incomplete; the message says what is missing.
    """
    if isinstance(source, CelebaSource):
        return _index_celeba(source)
    scratch = scratch.stage("index")
    job = Job(FaceSearch(source), scratch, options=options)
    job.run(engine, progress)
    return _index_photos(source, job)


def count_photos(source: Source) -> int:
    """Number of annotated photos, or of files that are named like photos."""
    if isinstance(source, CelebaSource):
        return len(index_celeba(source.folder, source.labels)[: source.limit])
    return len(find_photos(source.folder)[: source.limit])


def _index_celeba(source: CelebaSource) -> Indexed:
    faces = index_celeba(source.folder, source.labels)[: source.limit]
    missing = missing_photos(faces)
    notices = []
    if missing:
        notices.append(
            f"{faces.folder}: {len(missing):,} of {len(faces):,} annotated photos are missing: "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
        )
    return Indexed(faces, {"annotated photos": len(faces)}, notices=notices)


def _index_photos(source: PhotoSource, job: Job) -> Indexed:
    task, records = job.task, list(job.records())
    found = [PhotoFaces(**record.meta) for record in records if record.entry.reason is None]
    unreadable = [
        Skip(task.item_name(record.entry.item), "read", record.entry.reason, failure=True)
        for record in records
        if record.entry.reason is not None
    ]
    faceless = [Skip(photo.name, "find faces", photo.why_none) for photo in found if not photo.faces]
    if len(faceless) == len(found):
        job.forget()  # of no use, and would only bind the next run to its options
        raise ToolError(source.folder, f"no face to use in {_reasons([*unreadable, *faceless])}")
    duplicates = find_duplicates(found)
    faces = index_photos(source.folder, found, [] if source.keep_duplicates else duplicates)
    counts = {
        "photos": len(task),
        "unreadable photos": len(unreadable),
        "photos without a face that is large enough": len(faceless),
        "photos that repeat another one": len(duplicates),
        "faces too small, beside larger ones": sum(photo.small_faces for photo in found if photo.faces),
        "faces": len(faces),
    }
    left_out, notices = [*unreadable, *faceless], []
    if source.keep_duplicates and duplicates:
        notices.append(f"{len(duplicates):,} photos repeat another one and are kept (--keep-duplicates)")
    else:
        left_out += [Skip(each.name, "find duplicates", _describe(each)) for each in duplicates]
    return Indexed(faces, counts, left_out, notices)


def _reasons(skips: list[Skip]) -> str:
    """Why photos gave nothing: the most frequent reasons, and how many photos have each."""
    most = Counter(skip.reason for skip in skips).most_common(3)
    return f"{len(skips):,} photos: " + "; ".join(f"{reason} ({count:,})" for reason, count in most)


def _describe(duplicate: Duplicate) -> str:
    return f"{'the same file as' if duplicate.exact else 'the same picture as'} {duplicate.kept}"


class FaceSearch(Task):
    """Look for faces in every photo of a folder."""

    name = "find faces"

    def __init__(self, source: PhotoSource) -> None:
        self.source = source
        self.names = find_photos(source.folder)[: source.limit]

    def __len__(self) -> int:
        return len(self.names)

    def item_name(self, index: int) -> str:
        """The photo's path below the source folder."""
        return self.names[index]

    def fingerprint(self) -> dict[str, Any]:
        """Parameters, names and sizes of the photos."""
        photos = names_and_sizes_sha256(self.source.folder, self.names)
        return {**self.source.facts(), "max_pixels": self.source.max_pixels, "photos": photos}

    def start(self) -> None:
        """Load the detector."""
        self._finder = FaceFinder(scale=self.source.detector_scale)

    def process(self, index: int) -> Finished:
        """The faces of one photo, as facts."""
        source, name = self.source, self.names[index]
        with without_path(source.folder / name):
            found = find_faces_in(
                source.folder,
                name,
                self._finder,
                min_eye_distance=source.min_eye_distance,
                max_pixels=source.max_pixels,
            )
        return Finished([], asdict(found))


@contextmanager
def without_path(path: Path) -> Iterator[None]:
    """Leave the file's path out of the message, where the reason is listed beside its name."""
    try:
        yield
    except ToolError as err:
        raise ToolError(err.beside(path)) from err
