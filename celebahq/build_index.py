"""The first stage of a build: which faces there are, from CelebA's annotations or found in a folder."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from celebahq.align.detectors import detector_facts
from celebahq.align.faces import FaceFinder
from celebahq.errors import ToolError
from celebahq.files import sha256_file
from celebahq.jobs.earlier import finished_items
from celebahq.jobs.engine import Engine
from celebahq.jobs.job import Job
from celebahq.jobs.options import JobOptions
from celebahq.jobs.progress import Progress, silent
from celebahq.jobs.records import FinishedJob
from celebahq.jobs.scratch import Scratch
from celebahq.jobs.task import Finished, Task
from celebahq.options import CelebaSource, PhotoSource, Source
from celebahq.report import Skip
from celebahq.sources.celeba import index_celeba, missing_photos
from celebahq.sources.listing import find_photos, listed, listing_sha256, require_listable, without_name
from celebahq.sources.photos import PhotoFace, PhotoFaces, find_faces_in, index_photos
from celebahq.sources.records import FaceIndex
from celebahq.sources.selection import LeftOut, choose_faces, read_names, unknown_names

INDEX = "index"
"""Name of this stage's folder."""


@dataclass(frozen=True)
class Indexed:
    """The faces to build from, and what was left out on the way to them."""

    faces: FaceIndex
    counts: dict[str, int]
    """Photos, ... in the order of the stages."""
    left_out: list[Skip] = field(default_factory=list)
    faces_left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """What is hardly as it was meant: names that no photo has, photos that are missing."""
    notices: list[str] = field(default_factory=list)


def index(
    source: Source,
    scratch: Scratch,
    engine: Engine,
    options: JobOptions | None = None,
    progress: Progress = silent,
    finished: FinishedJob | None = None,
) -> Indexed:
    """Find the faces of a source.

    Args:
        scratch: Of the whole build; a part of it remembers this stage, so that it need not be repeated.
        engine: Who looks for faces.
        finished: A build to which photos were added.

    Raises:
        ToolError: There are none, or the source is incomplete; the message says what is missing. Or nothing
            was added, or photos are gone.
    """
    if isinstance(source, CelebaSource):
        return _index_celeba(source)
    task = FaceSearch(source)
    if finished:
        retry = options is not None and options.retry_skipped
        finished.require_news(INDEX, task.fingerprint(), retry=retry)
        # Before the search, whose status page would take the place of the finished file's report.
        finished.require_all("photo_sha256", task.photos_there(finished.records(INDEX).folder), source.folder)
    records = finished.records(INDEX) if finished else None
    job = Job(task, scratch.stage(INDEX), options=options, finished=records)
    job.run(engine, progress)
    return _index_photos(source, job)


def count_photos(source: Source) -> int:
    """Number of annotated photos, or of files that are named like photos."""
    if isinstance(source, CelebaSource):
        return len(index_celeba(source.folder, source.labels)[: source.limit])
    return len(find_photos(source.folder)[: source.limit])


def source_facts(source: Source) -> dict[str, Any]:
    """What of a source determines the result, for the provenance."""
    facts = source.facts()
    if isinstance(source, PhotoSource):
        facts |= detector_facts(source.detector, source.detector_model)
    return facts | ({"exclude_sha256": sha256_file(source.exclude)} if source.exclude else {})


def _index_celeba(source: CelebaSource) -> Indexed:
    faces = index_celeba(source.folder, source.labels)[: source.limit]
    missing = missing_photos(faces)
    excluded = read_names(source.exclude)
    warnings = unknown_names(source.exclude, faces.names)
    left_out = [Skip(name, "choose", excluded[name]) for name in faces.names if name in excluded]
    if excluded:
        faces = faces.take([i for i, name in enumerate(faces.names) if name not in excluded])
    if missing:
        warnings.append(
            f"{faces.folder}: {len(missing):,} of {len(faces):,} annotated photos are missing: "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
        )
    counts = {"annotated_photos": len(faces) + len(left_out), "photos_left_out_by_name": len(left_out)}
    return Indexed(faces, counts, left_out, warnings=warnings)


def _index_photos(source: PhotoSource, job: Job) -> Indexed:
    task, records = job.task, list(job.records())
    found = [PhotoFaces.from_json(record.meta) for record in records if record.entry.reason is None]
    unreadable = [
        Skip(task.item_name(record.entry.item), "read", record.entry.reason, failure=True)
        for record in records
        if record.entry.reason is not None
    ]
    chosen, left_out = choose_faces(found, source)
    skips = unreadable + [Skip(each.name, each.stage, each.reason) for each in left_out]
    if not chosen:
        job.forget()  # of no use, and would only bind the next run to its options
        raise ToolError(source.folder, f"no face to use in {len(task):,} photos: {_reasons(skips)}")
    whole = [each.stage for each in left_out if each.score is None]
    counts = {
        "photos": len(task),
        "unreadable_photos": len(unreadable),
        "photos_without_a_face": whole.count("find faces"),
        "photos_that_repeat_another_one": whole.count("find repeats"),
        "photos_left_out_by_name": whole.count("choose"),
        "faces_left_out": sum(each.score is not None for each in left_out),
        "faces": len(chosen),
    }
    faces = index_photos(source.folder, chosen, source.detector)
    warnings = unknown_names(source.exclude, map(task.item_name, range(len(task))))
    notices = [*_aligned_before([face for _, face in chosen]), *_kept_repeats(found, source)]
    return Indexed(faces, counts, skips, left_out, warnings, notices)


def _aligned_before(faces: list[PhotoFace]) -> list[str]:
    """Notice of photos that are crops already."""
    whole = sum(face.whole for face in faces)
    if not whole:
        return []
    return [
        f"{whole:,} of {len(faces):,} photos look aligned already, as those of FFHQ and CelebA-HQ are; to be "
        "aligned again blurs them a little, and celebahq import folder takes them as they are"
    ]


def _kept_repeats(found: list[PhotoFaces], source: PhotoSource) -> list[str]:
    """Notice of what `--keep-duplicates` keeps."""
    if not source.keep_duplicates:
        return []
    left_out = choose_faces(found, replace(source, keep_duplicates=False))[1]
    repeats = [each for each in left_out if each.stage == "find repeats"]
    photos = sum(each.score is None for each in repeats)
    if not repeats:
        return []
    return [
        f"{photos:,} photos and {len(repeats) - photos:,} faces repeat another one and are kept "
        "(--keep-duplicates)"
    ]


def _reasons(skips: list[Skip]) -> str:
    """Why photos gave nothing: the most frequent reasons, and how often each."""
    most = Counter(skip.reason for skip in skips).most_common(3)
    return "; ".join(f"{reason} ({count:,})" for reason, count in most)


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
        return listed(self.names[index])

    def fingerprint(self) -> dict[str, Any]:
        """Parameters, and which photos there are."""
        source = self.source
        return {
            **detector_facts(source.detector, source.detector_model),
            "detector_scale": source.detector_scale,
            "max_pixels": source.max_pixels,
            "photos": listing_sha256(map(self.key, range(len(self.names)))),
        }

    listing = ("photos",)

    def key(self, index: int) -> str:
        """Name, size and time of the last change: what is known of a file without reading it."""
        name = self.names[index]
        try:
            found = (self.source.folder / name).stat()
        except OSError:  # a link that leads nowhere, say: whoever reads it will give the reason
            return listing_sha256([name])
        return listing_sha256([f"{name} {found.st_size} {found.st_mtime_ns}"])

    def content(self, index: int) -> str | None:
        """SHA-256 of the file."""
        name = self.names[index]
        try:
            require_listable(name)
            path = self.source.folder / name
            return sha256_file(path) if path.is_file() else None  # a pipe would be read for ever
        except (ToolError, OSError):  # it is looked at, and the reason given
            return None

    def contents(self) -> set[str]:
        """SHA-256 of all photos that can be read."""
        return set(filter(None, map(self.content, range(len(self)))))

    def recorded_content(self, meta: Mapping[str, Any]) -> str | None:
        """SHA-256 of the file in which these faces were found."""
        return str(meta["sha256"])

    def photos_there(self, earlier: Path) -> set[str]:
        """SHA-256 of the photos, as far as a finished search may know them.

        Args:
            earlier: Folder of its records.
        """
        known = {key: str(record.meta["sha256"]) for key, record in finished_items(earlier)}
        keys = {self.key(index): index for index in range(len(self))}
        there = {sha256 for key, sha256 in known.items() if key in keys}
        if len(keys.keys() & known.keys()) < len(known):  # some are gone, or have other names now
            contents = (self.content(index) for key, index in keys.items() if key not in known)
            there.update(filter(None, contents))
        return there

    def reuse(self, index: int, earlier: Finished) -> Finished:
        """The photo may have another name by now."""
        return replace(earlier, meta={**earlier.meta, "name": self.names[index]})

    def start(self) -> None:
        """Load the detector."""
        source = self.source
        self._finder = FaceFinder(
            detector=source.detector, model=source.detector_model, scale=source.detector_scale
        )

    def process(self, index: int) -> Finished:
        """The faces of one photo, as facts."""
        source, name = self.source, self.names[index]
        require_listable(name)
        with without_name(source.folder / name):
            found = find_faces_in(source.folder, name, self._finder, max_pixels=source.max_pixels)
        return Finished([], asdict(found))
