"""The shape that every source of `celebahq import` has: a data set on disk, image by image.

A source is a module with a class derived from `DataSet`, and an entry in `celebahq.sources.catalogue`.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import ToolError
from celebahq.files import md5_file, sha256_file
from celebahq.options import ImportOptions as ImportOptions
from celebahq.sources.catalogue import SOURCES, Source

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """One image with what is known about it."""

    image: NDArray[np.uint8]
    """`[C, r, r]` uint8."""
    label: NDArray[np.float32] | None = None
    """`[L]` float32; for all images of a set or for none."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Further facts, the same names for all images of a set."""


class DataSet(ABC):
    """A data set on disk. Making one checks that everything is there; it is picklable.

    Worker processes call `load` once, then `read` for image after image.
    """

    source: ClassVar[Source]
    """Its entry in the list."""

    resolution: int
    channels: int
    label_names: Sequence[str] = ()
    """What the columns of the labels are called, where that is known."""

    @abstractmethod
    def __init__(self, path: Path, options: ImportOptions) -> None:
        """Look at what is on disk.

        Raises:
            ToolError: Something is missing or is not what it must be; the message says how to get it.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """JSON facts that tell this data from any other: checksums, counts, choices; no paths."""

    def load(self) -> None:  # noqa: B027 (sources of single files have nothing to load)
        """Read or open in this process what `read` needs."""

    @abstractmethod
    def read(self, index: int) -> Example:
        """One image.

        Raises:
            ToolError: It cannot be used, and why; it is skipped then.
        """

    @abstractmethod
    def image_name(self, index: int) -> str:
        """The image's name in its source."""


class LoadedFiles(DataSet):
    """A published set of few files, which `load` reads whole."""

    published: ClassVar[dict[str, int]]
    """Images of each split."""
    published_md5: ClassVar[dict[str, str]]
    """File name -> checksum, as torchvision's downloads are held against."""
    loaded: ClassVar[tuple[str, ...]]
    """The arrays that `load` makes: each worker reads them again, which takes less than sending them."""

    _labels: Sequence[int] | NDArray[np.integer[Any]]
    """Of each image that `load` has read."""

    def __init__(self, path: Path, options: ImportOptions) -> None:
        """Read the files, and say which are not the published ones: they may still be what is wanted.

        Raises:
            ToolError: Some are missing, are damaged, or hold another number of images.
        """
        self._files = self.files(path, options.split)
        for file in self._files:
            if not file.is_file():
                raise ToolError(file, f"not found; {self.source.origin}")
            found, published = md5_file(file), self.published_md5[file.name]
            if found != published:
                log.warning("%s: not the published file (MD5 %s, not %s)", file, found, published)
        self.load()
        require_count(path, len(self._labels), self.published[options.split], options)

    @abstractmethod
    def files(self, path: Path, split: str) -> list[Path]:
        """Where they are."""

    def __getstate__(self) -> dict[str, Any]:
        """All but the arrays."""
        return {**self.__dict__, **dict.fromkeys(self.loaded)}

    def facts(self) -> dict[str, Any]:
        """The files' checksums."""
        return {"sha256": {path.name: sha256_file(path) for path in self._files}}


def open_data_set(name: str, path: Path, options: ImportOptions) -> DataSet:
    """Look at the data set at `path` as the source of that name does.

    Raises:
        ToolError: Something is missing or is not what it must be.
        KeyError: There is no such source.
    """
    source = SOURCES[name]
    _require_kind(path, source)
    module, kind = source.location.split(".")
    data_set: type[DataSet] = getattr(import_module(f"celebahq.sources.{module}"), kind)
    images = data_set(path, options)
    if not len(images):
        raise ToolError(path, "no images")
    return images


def _require_kind(path: Path, source: Source) -> None:
    """Raise `ToolError` for a file where the source is a folder, or the other way round."""
    if not path.exists():
        raise ToolError(path, "no such file or folder")
    if path.is_dir() != source.is_file:
        return
    found, wanted = ("a folder", "a file") if source.is_file else ("a file", "a folder")
    others = ", ".join(other.name for other in SOURCES.values() if other.is_file != source.is_file)
    raise ToolError(
        path,
        f"{found}, but {source.name} takes {wanted}: {source.expects}. Sources that take {found}: {others}",
    )


def require_colours(channels: int, name: str) -> int:
    """The number of channels, which must be one that a pyramid can have.

    Raises:
        ToolError: It is neither 1 nor 3.
    """
    if channels not in (1, 3):
        raise ToolError(name, f"images of {channels} channels; expected 3 (RGB) or 1 (grey)")
    return channels


def require_count(path: Path, found: int, published: int, options: ImportOptions) -> None:
    """Raise `ToolError` unless all images of a published set are there, or that does not matter."""
    if found != published and not options.partial:
        raise ToolError(
            path,
            f"{found:,} images, but the published set has {published:,}; get it again, or pass "
            "--partial to take what is there",
        )


def one_hot(label: int, classes: int) -> NDArray[np.float32]:
    """`[classes]` float32, 1 at `label`."""
    row = np.zeros(classes, np.float32)
    row[label] = 1
    return row
