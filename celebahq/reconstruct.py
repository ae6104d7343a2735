"""`celebahq reconstruct`: the published CelebA-HQ, bit for bit, from CelebA's photos and the deltas.

self-tests -> align as in 2017 -> add the delta -> check -> write. Every image has two published checksums,
one before and one after its delta; one that fails either is not written.

Source: Karras et al. 2018, appendix C, and the files that its authors published.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from celebahq.errors import FormatError, MissingExtraError, ToolError
from celebahq.files import md5_file, write_json
from celebahq.jobs.again import Again
from celebahq.jobs.disk import require_space
from celebahq.jobs.engine import Engine, choose_engine
from celebahq.jobs.job import image_job
from celebahq.jobs.memory import photo_worker_bytes
from celebahq.jobs.merge import write_pyramid
from celebahq.jobs.progress import Progress, silent
from celebahq.jobs.scratch import require_new_output, scratch_for
from celebahq.jobs.task import Finished, StopJob, Task
from celebahq.jobs.watch import StageStatus, watching, write_stage
from celebahq.legacy.align import SIDE, legacy_align
from celebahq.legacy.checks import check_input
from celebahq.legacy.delta import decrypt_delta, read_token, zip_name
from celebahq.legacy.published import (
    COUNT,
    HOW_TO_GET,
    IMAGE_LIST,
    PublishedImage,
    md5_array,
    read_image_list,
)
from celebahq.options import ReconstructOptions
from celebahq.pyramid import dataset_options, encode_image
from celebahq.sources.celeba import index_celeba
from celebahq.sources.records import FaceIndex
from celebahq.status_page import write_status_page
from celebahq.threads import processors

ITEM_SEC = 1.5
"""About, of one worker, until it is known."""


class FailedImage(NamedTuple):
    """An image that was not written, and what differed."""

    idx: int
    orig_file: str
    reason: str


@dataclass(frozen=True)
class ReconstructReport:
    """What was written, and what was not."""

    file: str
    written: int
    failed: Sequence[FailedImage]

    def to_json(self) -> dict[str, Any]:
        """Everything, as one JSON object."""
        failed = [image._asdict() for image in self.failed]
        return {"file": self.file, "written": self.written, "failed": failed}


def prepare(options: ReconstructOptions) -> "ReconstructTask":
    """Read the list and the landmarks, and check everything that can be checked before the work.

    Raises:
        ToolError: Some input, a package or disk space is missing, or the input is not the published one.
    """
    require_extras()
    require_image_list(options)
    images = choose_images(read_image_list(options.delta_dir / IMAGE_LIST), options)
    faces = index_celeba(options.celeba_dir)
    check_input(options.celeba_dir, options.delta_dir, images, faces, published=options.self_test)
    require_space(options.out, len(images), None, SIDE, options.job)
    return ReconstructTask(options, images, faces)


def require_image_list(options: ReconstructOptions) -> None:
    """Where nothing was downloaded yet, say what is needed, also without the list.

    Raises:
        ToolError: `image_list.txt` is missing.
    """
    path = options.delta_dir / IMAGE_LIST
    if path.exists():
        return
    wanted = range(COUNT) if options.indices is None else options.indices
    zips = sorted({zip_name(idx) for idx in wanted})
    named = zips[0] if len(zips) == 1 else f"{zips[0]} to {zips[-1]} ({len(zips)} zips)"
    raise ToolError(path, f"not found; it and {named} are needed; {HOW_TO_GET}")


def configuration(options: ReconstructOptions) -> dict[str, Any]:
    """What a reconstruction would do, for `--dry-run`; fails where it would fail at once."""
    require_new_output(options.out)
    return {
        "out": str(options.out),
        "celeba_dir": str(options.celeba_dir),
        "delta_dir": str(options.delta_dir),
        **prepare(options).facts(),
        "strict": options.strict,
        "codec": options.job.codec,
        **_choose_engine(options).facts(),
    }


def reconstruct_dataset(options: ReconstructOptions, progress: Progress = silent) -> ReconstructReport:
    """Write the published images into a pyramid file, or continue doing so; `OUT.report.json` beside it.

    Raises:
        ToolError: Some input is missing or is not the published one; no image passed its checks.
        StopJob: An image failed and `strict` was asked for; what is finished is kept.
    """
    options = options.from_anywhere()
    dataset_options(options.job.codec)  # a missing package is better known now than at every image
    workers = options.job.workers or processors()
    stages = [StageStatus("reconstruct", "images", ITEM_SEC / workers), write_stage(SIDE)]
    with (
        watching(options.out, stages, progress, write_status_page) as progress,
        scratch_for(options.out, completing=options.job.retry_skipped) as scratch,
    ):
        task = prepare(options)
        todo: Task = task
        if scratch.replaces(options.out):
            todo = Again(task, options.out, options.job.codec, task.facts())
        job = image_job(todo, scratch, SIDE, options=options.job)
        job.run(_choose_engine(options), progress)
        done = write_pyramid(job, options.out, resolution=SIDE, provenance=task.facts(), progress=progress)
        images = task.images
        failed = [FailedImage(images[i].idx, images[i].orig_file, why) for i, why in done.skipped.items()]
        report = ReconstructReport(options.out.name, len(done.kept), failed)
        write_json(report_path(options.out), report.to_json())
        return report


def _choose_engine(options: ReconstructOptions) -> Engine:
    return choose_engine(options.job.workers, options.job.cluster, photo_worker_bytes(networks=False))


def report_path(out: Path) -> Path:
    """Where the report on `out` goes."""
    return out.with_name(out.name + ".report.json")


def require_extras() -> None:
    """Raise `MissingExtraError` now rather than at each of 30,000 images."""
    for package in ("jpeglib", "cryptography"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "reconstruct", "celebahq reconstruct")


def choose_images(listed: list[PublishedImage], options: ReconstructOptions) -> list[PublishedImage]:
    """Those of `--indices`, or all; in the order of `idx`."""
    if options.indices is None:
        return listed
    wanted = set(options.indices)
    absent = sorted(wanted - {image.idx for image in listed})
    if absent:
        raise ToolError("--indices", f"{IMAGE_LIST} has no image {absent[0]}; it lists {len(listed):,}")
    return [image for image in listed if image.idx in wanted]


class ReconstructTask(Task):
    """One published image at a time."""

    name = "reconstruct"

    def __init__(
        self, options: ReconstructOptions, images: Sequence[PublishedImage], faces: FaceIndex
    ) -> None:
        self.options, self.images = options, images
        self.photo_folder = faces.folder
        self.landmarks = faces.landmarks[[image.orig_idx for image in images]]  # [N, 5, 2]

    def __len__(self) -> int:
        return len(self.images)

    def item_name(self, index: int) -> str:
        """The photo's name."""
        return self.images[index].orig_file

    def fingerprint(self) -> dict[str, Any]:
        """What the images depend on, and whether failures are final."""
        lines = "\n".join(" ".join(map(str, image)) for image in self.images)
        return self.facts() | {
            "strict": self.options.strict,
            "images_md5": hashlib.md5(lines.encode(), usedforsecurity=False).hexdigest(),
            "landmarks_md5": md5_array(self.landmarks),
        }

    def known(self, index: int) -> dict[str, Any]:
        """The published image."""
        image = self.images[index]
        return {
            "idx": image.idx,
            "orig_idx": image.orig_idx,
            "source_name": image.orig_file,
            "landmarks": self.landmarks[index],
        }

    def facts(self) -> dict[str, Any]:
        """What the file's provenance says."""
        return {
            "tool": f"celebahq-toolkit {version('celebahq-toolkit')}",
            "command": "reconstruct",
            "image_list_md5": md5_file(self.options.delta_dir / IMAGE_LIST),
            "images": len(self.images),
        }

    def process(self, index: int) -> Finished:
        """Align, add the delta, check both."""
        image = self.images[index]
        photo = self.photo_folder / image.orig_file
        try:
            pixels = restore_published(image, photo, self.landmarks[index], self.options.delta_dir)
        except Exception as err:  # with `strict`, whatever an image brings out ends the job
            reason = err.beside(photo) if isinstance(err, ToolError) else str(err)
            if self.options.strict:
                raise StopJob(f"{image.orig_file} (image {image.idx})", reason) from err
            if isinstance(err, ToolError):
                raise ToolError(reason) from err
            raise
        return Finished(encode_image(pixels, self.options.job.codec), self.known(index))


def restore_published(
    image: PublishedImage, photo: Path, landmarks: npt.ArrayLike, delta_dir: Path
) -> npt.NDArray[np.uint8]:
    """The published image, `[3, 1024, 1024]` uint8.

    Raises:
        FormatError: A checksum differs; the message says which, and what that means.
    """
    aligned = np.ascontiguousarray(legacy_align(photo, landmarks).transpose(2, 0, 1))
    if (found := md5_array(aligned)) != image.proc_md5:
        raise FormatError(
            f"proc_md5 differs ({found}, listed {image.proc_md5}): "
            "another photo, or other landmarks, than in 2017"
        )
    delta = decrypt_delta(read_token(delta_dir, image.idx), photo.read_bytes(), image.orig_file)
    final = aligned + delta  # uint8: modulo 256
    if (found := md5_array(final)) != image.final_md5:
        raise FormatError(
            f"final_md5 differs ({found}, listed {image.final_md5}): the delta is another image's"
        )
    return final
