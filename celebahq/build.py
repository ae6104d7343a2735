"""`celebahq build`: from in-the-wild photos to a ranked data set, in the paper's order.

index -> restore -> align -> score -> rank and keep -> write. The first is `celebahq.build_index`; restore and
align are functions below, the score is `celebahq.align.quality`; ranking, keeping and writing are the job's
(`celebahq.jobs`), which makes all of it resumable.

Source: Karras et al. 2018, section 6.3 and appendix C.
"""

import hashlib
import logging
import os
from dataclasses import replace
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from celebahq.align.crop import CropPlan, enlarge, enlargement, finish_crop, plan_crop
from celebahq.align.geometry import inside_mask, outside_share
from celebahq.align.quality import SURE, build_score
from celebahq.build_index import INDEX, FaceSearch, count_photos, index, source_facts
from celebahq.build_report import report_build
from celebahq.console import resolve_device
from celebahq.errors import ToolError
from celebahq.jobs.again import Again, require_same
from celebahq.jobs.disk import require_space
from celebahq.jobs.engine import Engine, choose_engine
from celebahq.jobs.job import image_job
from celebahq.jobs.memory import photo_worker_bytes
from celebahq.jobs.merge import write_pyramid
from celebahq.jobs.progress import Progress, silent
from celebahq.jobs.records import FinishedJob, can_grow, keep_records
from celebahq.jobs.scratch import require_new_output, scratch_for, work_folder
from celebahq.jobs.task import Finished, Task
from celebahq.jobs.watch import StageStatus, watching, write_stage
from celebahq.jobs.worker import WORKER_NUMBER
from celebahq.options import BuildOptions, PhotoSource
from celebahq.pictures.decoding import RAISE_LIMIT, load_photo
from celebahq.pyramid import PyramidReader, dataset_options, encode_image
from celebahq.report import BuildReport
from celebahq.sources.duplicates import face_hash
from celebahq.sources.listing import without_name
from celebahq.sources.records import FaceIndex
from celebahq.status_page import write_status_page
from celebahq.threads import processors

if TYPE_CHECKING:
    from celebahq.restore.infer import Restorer

log = logging.getLogger(__name__)

Photo = NDArray[np.uint8]

SEARCH_SEC, FACE_SEC, NETWORKS_SEC = 0.1, 0.3, 2.0
"""Of one worker, as `tools/bench_build.py` measures it."""
MIXED = "mixed"
"""The arithmetic of a build whose machines may differ."""


def build_dataset(options: BuildOptions, progress: Progress = silent) -> BuildReport:
    """Make a data set from photos, or continue making it, and report on it: what `celebahq build` does.

    Args:
        progress: Called as the work goes on. What is to be known besides goes to the logger `celebahq`.

    Raises:
        ToolError: Something outside is missing: photos, annotations, networks, disk space.
    """
    options = options.from_anywhere()
    out, resolution = options.out, options.resolution
    dataset_options(options.job.codec)  # a missing package is better known now than at every image
    with (
        watching(out, stages(options), progress, write_status_page) as watched,
        scratch_for(out, completing=options.job.retry_skipped or can_grow(out)) as scratch,
    ):
        engine = _choose_engine(options)
        facts = describe(options, engine)
        finished = FinishedJob(out) if scratch.replaces(out) and can_grow(out) else None
        if finished:
            source = {"max_pixels": options.source.max_pixels, "codec": options.job.codec}
            finished.require_same({**facts, **source})
        log.info(
            "%s: faces at %dx%d into %s; networks: %s, %s on %s; %s",
            *(options.source.folder, resolution, resolution, out),
            *(options.jpeg_model, options.sr_model, options.device, engine),
        )
        retrying = scratch.replaces(out) and not finished
        if retrying:
            _require_retriable(options, facts)
        # Until there is known to be something to try again, the page is the finished file's report.
        shown = progress if retrying else watched
        indexed = index(options.source, scratch, engine, options.job, shown, finished)
        facts["label_names"] = list(indexed.faces.label_names)
        for warning in indexed.warnings:
            log.warning("%s", warning)
        notices = [*indexed.notices, *missing_stages(options)]
        for notice in notices:
            log.info("%s", notice)
        require_space(out, len(indexed.faces), options.keep, resolution, options.job)
        task: Task = FaceTask(indexed.faces, options, facts)
        if retrying:
            with scratch.dropping(INDEX):
                task = Again(task, out, options.job.codec, facts)
        records = finished.records() if finished else None
        job = image_job(task, scratch, resolution, keep=options.keep, options=options.job, finished=records)
        job.run(engine, watched)
        done = write_pyramid(
            job, out, resolution=resolution, provenance=facts, engine=engine, progress=watched
        )
        report = report_build(out, facts, indexed, done, [*indexed.warnings, *notices])
        # The logs of several files have lost their images on the way, and nothing adds to those.
        if isinstance(options.source, PhotoSource) and options.job.shard_size is None:
            keep_records(out, scratch, [INDEX])
        return report


def _require_retriable(options: BuildOptions, facts: dict[str, Any]) -> None:
    """Find out before the search whether a finished file is of these parameters and photos.

    Raises:
        ToolError: It is not.
    """
    require_same(PyramidReader(options.out), facts)
    if isinstance(options.source, PhotoSource):
        there = FaceSearch(options.source).contents()
        FinishedJob(options.out).require_all("photo_sha256", there, options.source.folder)


def stages(options: BuildOptions) -> list[StageStatus]:
    """What a build does, and about how long an item takes until that is known."""
    workers = options.job.workers or processors()
    search = [StageStatus("find faces", "photos", SEARCH_SEC / workers)]
    face_sec = FACE_SEC + (NETWORKS_SEC if options.uses_networks else 0.0)
    return [
        *(search if isinstance(options.source, PhotoSource) else []),
        StageStatus("build", "faces", face_sec / workers),
        write_stage(options.resolution),
    ]


class FaceTask(Task):
    """The stages that look at one face at a time: restore, align, score, encode."""

    name = "build"
    may_move = True

    def __init__(self, faces: FaceIndex, options: BuildOptions, facts: dict[str, Any]) -> None:
        """Args: `facts` as `describe` gives them."""
        self.faces, self.options, self.facts = faces, options, facts

    def __len__(self) -> int:
        return len(self.faces)

    def item_name(self, index: int) -> str:
        """The photo's path below the source folder."""
        return self.faces.names[index]

    def known(self, index: int) -> dict[str, Any]:
        """The face."""
        face = self.faces[index]
        return {"source_name": face.name, "orig_idx": face.index, "landmarks": face.landmarks}

    def fingerprint(self) -> dict[str, Any]:
        """All that the images depend on."""
        return {**self.facts, "max_pixels": self.options.source.max_pixels, "faces": listing_hash(self.faces)}

    listing = ("faces", *PhotoSource.choices, "exclude_sha256")

    def key(self, index: int) -> str | None:
        """The photo's content and what is known about the face in it; None where the content is not known."""
        if "photo_sha256" not in self.faces.facts:
            return None
        face = self.faces[index]
        label = None if face.label is None else face.label.tolist()
        return repr((face.facts, face.landmarks.tolist(), label))

    def reuse(self, index: int, earlier: Finished) -> Finished:
        """The name and number may be others by now."""
        face = self.faces[index]
        meta = {**earlier.meta, "source_name": face.name, "orig_idx": face.index}
        return replace(earlier, meta=meta)

    def start(self) -> None:
        """Load the networks.

        Raises:
            ToolError: A weight file is another one than when the build began.
        """
        options = self.options
        if self.facts["arithmetic"] not in (arithmetic := _arithmetic(options.device), MIXED, None):
            raise ToolError(
                f"--device {options.device}",
                f"this machine's networks would compute in {arithmetic}, those of the build compute in "
                f"{self.facts['arithmetic']}; --mixed-hardware accepts that images differ",
            )
        device = _resolved(options.device) if options.uses_networks else "cpu"
        self.jpeg, self.sr = _networks_on(device, options)
        for name, model in (("jpeg_model", self.jpeg), ("sr_model", self.sr)):
            if self.facts[name] != _model_facts(model):
                raise ToolError(
                    f"--{name.replace('_', '-')}", "the weights have changed since this build began"
                )

    def process(self, index: int) -> Finished:
        """One face: the paper's steps in the paper's order."""
        face, options = self.faces[index], self.options
        with without_name(face.path):
            photo = load_photo(
                face.path, orient=face.orient, max_pixels=options.source.max_pixels, remedy=RAISE_LIMIT
            )
        plan = plan_crop(photo.shape[0], photo.shape[1], face.landmarks)
        restored = restore_crop(photo, plan, self.jpeg, self.sr, options)
        image = align_crop(restored, plan, options.resolution)
        outside = outside_share(plan.quad, *photo.shape[:2])
        confidence = face.facts.get("detector_score", SURE)  # annotated faces are sure to be some
        height, width = photo.shape[:2]
        known = inside_mask(plan.quad, height, width, options.resolution) if outside else None
        score = build_score(image, plan.cut(photo), outside=outside, confidence=confidence, known=known)
        meta = {
            **self.known(index),
            "quad": plan.quad,
            "crop_side": plan.side * plan.shrink,
            "jpeg_removal": restored.jpeg_removal,
            "super_resolution": restored.super_resolution,
            "outside": outside,
            "face_hash": face_hash(photo, plan.quad),
            **face.facts,
        }
        return Finished(encode_image(image.transpose(2, 0, 1), options.job.codec), meta, face.label, score)


class RestoredCrop(NamedTuple):
    """The part of a photo that a crop needs, after the networks; which of them ran, in words."""

    picture: Photo
    factor: int
    """Enlargement since `CropPlan.reduce`."""
    jpeg_removal: str
    super_resolution: str


def restore_crop(
    photo: Photo, plan: CropPlan, jpeg: "Restorer | None", sr: "Restorer | None", options: BuildOptions
) -> RestoredCrop:
    """Remove JPEG artifacts, then enlarge by 4; only the part of the photo that the crop needs.

    A crop that has the target's size already is not enlarged unless `sr_when` is `always`.
    """
    if sr is not None and options.sr_when == "needed" and plan.side >= options.resolution:
        sr, reason = None, f"skipped: the crop of {plan.side:.0f} px is as large as the target"
    else:
        reason = _named(sr)

    # The second network sees a surround too, which the first one has to restore as well.
    around = widen(plan, sr.halo if sr and plan.shrink == 1 else 0, photo)
    piece = jpeg(photo, around) if jpeg else photo[around[0] : around[2], around[1] : around[3]]
    top, left = plan.top - around[0], plan.left - around[1]
    inner = (top, left, top + plan.bottom - plan.top, left + plan.right - plan.left)
    if sr is None:
        picture = plan.reduce(piece[inner[0] : inner[2], inner[1] : inner[3]])
    elif plan.shrink == 1:
        picture = sr(piece, inner)
    else:
        picture = sr(plan.reduce(piece))
    return RestoredCrop(picture, sr.scale if sr else 1, _named(jpeg), reason)


def widen(plan: CropPlan, by: int, photo: Photo) -> tuple[int, int, int, int]:
    """The plan's region and a surround as far as the photo reaches: top, left, bottom, right."""
    height, width = photo.shape[:2]
    return (
        max(plan.top - by, 0),
        max(plan.left - by, 0),
        min(plan.bottom + by, height),
        min(plan.right + by, width),
    )


def align_crop(restored: RestoredCrop, plan: CropPlan, resolution: int) -> Photo:
    """Crop, pad, turn and filter; what is still too small is enlarged by Lanczos. `(r, r, 3)` uint8."""
    further = enlargement(plan.side * restored.factor, resolution)
    return finish_crop(enlarge(restored.picture, further), plan, restored.factor * further, resolution)


@lru_cache(maxsize=4)  # a cluster's workers start a task once per shard
def _load_model(stage: str, name: str, device: str, *, strength: float = 1.0) -> "Restorer | None":
    if name == "none":  # without PyTorch
        return None
    from celebahq.restore.infer import load_stage

    return load_stage(stage, name, device, strength=strength, exact=False)


def _networks_on(device: str, options: BuildOptions) -> list["Restorer | None"]:
    """Both networks; those on a GPU run in its own process, for all workers of the machine."""
    models = [("jpeg_model", options.jpeg_model, options.jpeg_strength), ("sr_model", options.sr_model, 1.0)]
    if not _has_own_process(device):
        return [_load_model(stage, name, device, strength=strength) for stage, name, strength in models]
    from celebahq.restore.feeding import DeviceProcess, Model

    wanted = [Model(name, strength, exact=False) for _, name, strength in models if name != "none"]
    fed = iter(DeviceProcess(device, wanted).restorers())
    return [None if name == "none" else next(fed) for _, name, _ in models]


def _has_own_process(device: str) -> bool:
    return device.startswith("cuda")


def describe(options: BuildOptions, engine: Engine) -> dict[str, Any]:
    """What determines the result, for the provenance: nothing about machine, folders or time.

    Raises:
        WrongUse: A network is not of its stage's kind.
        ToolError: A network is not there, or the machines would compute differently.
    """
    return {
        "tool": f"celebahq-toolkit {version('celebahq-toolkit')}",
        "command": "build",
        **source_facts(options.source),
        "resolution": options.resolution,
        "keep": options.keep,
        "jpeg_model": _model_facts(
            _load_model("jpeg_model", options.jpeg_model, "cpu", strength=options.jpeg_strength)
        ),
        "sr_model": _model_facts(_load_model("sr_model", options.sr_model, "cpu")),
        "sr_when": options.sr_when,
        "arithmetic": _common_arithmetic(options, engine),
    }


def _choose_engine(options: BuildOptions) -> Engine:
    worker_bytes = photo_worker_bytes(networks=options.uses_networks)
    # Half of them wait for the GPU when it has as much to do as the processors.
    per_processor = 2 if options.uses_networks and _has_own_process(options.device) else 1
    return choose_engine(options.job.workers, options.job.cluster, worker_bytes, per_processor=per_processor)


def _common_arithmetic(options: BuildOptions, engine: Engine) -> str | None:
    """What the networks compute in, on all machines; None where there are no networks."""
    if not options.uses_networks:
        return None
    if options.job.mixed_hardware:
        return MIXED
    found = engine.ask(partial(_arithmetic, options.device))
    if len(found) > 1:
        raise ToolError(
            f"--cluster {options.job.cluster}",
            f"its machines compute in {' and in '.join(sorted(found))}, so "
            "that images would depend on who made them; use machines of one kind, or --mixed-hardware",
        )
    return found.pop()


def _arithmetic(device: str) -> str:
    """What networks compute in here: `bfloat16 on cpu`."""
    import torch

    from celebahq.restore.infer import native_dtype

    resolved = torch.device(_resolved(device))
    return f"{str(native_dtype(resolved)).removeprefix('torch.')} on {resolved.type}"


def _resolved(device: str) -> str:
    """The device of that name here; `auto` is a GPU where there is one, and workers share GPUs out."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    resolved = str(resolve_device(device))
    if resolved == "cuda":
        number = int(os.environ.get(WORKER_NUMBER, "0"))
        return f"cuda:{number % torch.cuda.device_count()}"
    return resolved


def _model_facts(model: "Restorer | None") -> dict[str, str] | str:
    return "none" if model is None else {"name": _named(model), "sha256": model.sha256}


def _named(model: "Restorer | None") -> str:
    """The network without the folder of its file, which is no part of the result."""
    return "none" if model is None else Path(model.name).name


def configuration(options: BuildOptions) -> dict[str, Any]:
    """What a build would do, for `--dry-run`; fails where the build would fail at once."""
    require_new_output(options.out, completing=can_grow(options.out))
    engine = _choose_engine(options)
    return {
        "out": str(options.out),
        "scratch": str(work_folder(options.out)),
        "folder": str(options.source.folder),
        "photos": count_photos(options.source),
        **describe(options, engine),
        "limit": options.source.limit,
        "max_pixels": options.source.max_pixels,
        "codec": options.job.codec,
        "shard_size": options.job.shard_size,
        "device": options.device,
        **engine.facts(),
    }


def missing_stages(options: BuildOptions) -> list[str]:
    """What is not done to the photos, to be said aloud."""
    notices = []
    if options.jpeg_model == "none":
        notices.append("--jpeg-model none: JPEG artifacts are not removed")
    if options.sr_model == "none":
        notices.append("--sr-model none: small faces are enlarged by Lanczos, no network")
    return notices


def listing_hash(faces: FaceIndex) -> str:
    """SHA-256 of names, landmarks and labels."""
    digest = hashlib.sha256("\n".join(faces.names).encode("utf-8", "surrogateescape"))
    digest.update(faces.landmarks.tobytes())
    if faces.labels is not None:
        digest.update(faces.labels.tobytes())
    return digest.hexdigest()
