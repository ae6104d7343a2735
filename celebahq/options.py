"""What the long commands can be asked for, and what they do unless told.

The defaults are written here and nowhere else; this module imports nothing that takes time, for the commands
show them in their help.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from celebahq.jobs.options import JobOptions as JobOptions


@dataclass(frozen=True)
class CelebaSource:
    """CelebA's layout: in-the-wild photos with annotated landmarks."""

    folder: Path
    labels: tuple[str, ...] = ()
    exclude: Path | None = None
    """A file with names of photos to leave out, paths below the folder, one a line."""
    limit: int | None = None
    max_pixels: int = 1 << 27

    def facts(self) -> dict[str, Any]:
        """For the provenance."""
        return {"source": "celeba", "landmarks": "annotated", "labels": list(self.labels)}


@dataclass(frozen=True)
class PhotoSource:
    """Any folder of photos, in which faces are looked for."""

    folder: Path
    detector: str = "yunet"
    """`yunet`, `hog` or `cnn`, see `celebahq.align.detectors`."""
    detector_model: Path | None = None
    """Another file of YuNet."""
    detector_scale: float = 1.0
    min_eye_distance: float = 32.0
    """Pixels."""
    min_score: float = 0.0
    """Of the detector, for the face turned upright."""
    max_roll: float = 180.0
    """Degrees."""
    max_outside: float = 0.3
    """Share of the crop that may lie outside the photo; at 0.4 a reflection reaches into the face."""
    select: str = "all"
    """`all` faces of a photo, or the `largest`."""
    max_per_photo: int | None = None
    keep_duplicates: bool = False
    exclude: Path | None = None
    """A file with names of photos to leave out, paths below the folder, one a line."""
    limit: int | None = None
    max_pixels: int = 1 << 27

    choices: ClassVar[tuple[str, ...]] = (
        "min_eye_distance",
        "min_score",
        "max_roll",
        "max_outside",
        "select",
        "max_per_photo",
        "keep_duplicates",
    )
    """Which of the faces found are taken."""

    def facts(self) -> dict[str, Any]:
        """For the provenance, which has the detector's own facts besides."""
        return {
            "source": "photos",
            "landmarks": "dlib, 68 points",
            "detector_scale": self.detector_scale,
            **{name: getattr(self, name) for name in self.choices},
        }


Source = CelebaSource | PhotoSource


@dataclass(frozen=True)
class BuildOptions:
    """What `celebahq build` is asked for."""

    source: Source
    out: Path
    resolution: int = 1024
    keep: int | None = None
    jpeg_model: str = "jpeg"
    jpeg_strength: float = 1.0
    sr_model: str = "sr4x"
    sr_when: str = "needed"
    """Faces smaller than the target are enlarged; `always`: all."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:N`, or `auto`: a GPU where there is one, on the machine that does the work."""
    job: JobOptions = field(default_factory=JobOptions)

    @property
    def uses_networks(self) -> bool:
        """Whether there is a network to run."""
        return (self.jpeg_model, self.sr_model) != ("none", "none")

    def from_anywhere(self) -> "BuildOptions":
        """The same with paths that other machines understand, where there are some."""
        if not self.job.cluster:
            return self
        return replace(
            self,
            source=replace(self.source, folder=self.source.folder.absolute()),
            out=self.out.absolute(),
            jpeg_model=_absolute_file(self.jpeg_model),
            sr_model=_absolute_file(self.sr_model),
        )


@dataclass(frozen=True)
class ImportOptions:
    """What a person may ask of a source; each source says which of these it understands."""

    split: str = "train"
    """`train` or `test`."""
    resolution: int = 256
    """Side to which pictures of any size are brought."""
    folder_labels: bool = False
    """Take the sub-folders' names for classes."""
    partial: bool = False
    """Accept another number of images than was published."""
    resize: int | None = None
    """Side to which square pictures are brought; None takes them as they are."""
    center_crop: bool = False
    """With `resize`: of pictures that are not square, take the middle."""


@dataclass(frozen=True)
class ImportRequest:
    """What `celebahq import` is asked for."""

    source: str
    """A name from `celebahq.sources.catalogue`."""
    path: Path
    out: Path
    options: ImportOptions = field(default_factory=ImportOptions)
    max_images: int | None = None
    """Only the first images of the source."""
    job: JobOptions = field(default_factory=JobOptions)

    def from_anywhere(self) -> "ImportRequest":
        """The same with paths that other machines understand, where there are some."""
        if not self.job.cluster:
            return self
        return replace(self, path=self.path.absolute(), out=self.out.absolute())


@dataclass(frozen=True)
class ReconstructOptions:
    """What `celebahq reconstruct` is asked for."""

    celeba_dir: Path
    """CelebA's layout: `img_celeba` (or `Img/img_celeba`) and `Anno`."""
    delta_dir: Path
    """`image_list.txt` and the zips."""
    out: Path
    indices: Sequence[int] | None = None
    """Which images, by `idx`; all unless told."""
    strict: bool = False
    """Stop at the first image that fails."""
    self_test: bool = True
    """Check that the input is the published one, where that is known in advance."""
    job: JobOptions = field(default_factory=JobOptions)

    def from_anywhere(self) -> "ReconstructOptions":
        """The same with paths that other machines understand, where there are some."""
        if not self.job.cluster:
            return self
        return replace(
            self,
            celeba_dir=self.celeba_dir.absolute(),
            delta_dir=self.delta_dir.absolute(),
            out=self.out.absolute(),
        )


def _absolute_file(name: str) -> str:
    """A weight file's path; names of networks stay."""
    return str(Path(name).absolute()) if Path(name).is_file() else name
