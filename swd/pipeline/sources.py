"""Sets of images on disk: a pyramid file, a folder, a zip or an array, read as uint8 batches."""

import os
import shutil
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError, ToolError
from celebahq.pictures.decoding import LOSSY_SUFFIXES, SUFFIXES
from celebahq.pyramid import PyramidReader
from swd.pipeline.images import decode, fit, read_header

Shape = tuple[int, int, int]
"""(channels, height, width) of an image."""


class ImageSet(ABC):
    """Images under one name, counted from 0."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def shapes(self, indices: Sequence[int]) -> "Counter[Shape]":
        """How many of these images have which shape."""

    @abstractmethod
    def read(self, indices: Sequence[int], resolution: int) -> NDArray[np.uint8]:
        """`[n, C, resolution, resolution]` of square images, reduced where they are larger."""

    @property
    def lossy(self) -> bool | None:
        """Whether images come from files with lossy compression; None where that cannot be known."""
        return None


def open_images(path: Path) -> ImageSet:
    """Open whatever holds the images.

    Args:
        path: An HDF5 pyramid, a folder (searched recursively), a zip, or a `.npy` or `.npz` array of uint8
            `[N, H, W, C]` or `[N, C, H, W]`.

    Raises:
        ToolError: It does not exist, is of another kind, or holds no image.
        FormatError: It is damaged, or of another layout than these.
    """
    suffix = path.suffix.lower()
    if not path.exists():
        raise ToolError(f"{path}: no such file or folder")
    images: ImageSet
    if path.is_dir():
        images = FolderImages(path)
    elif suffix == ".zip":
        images = ZipImages(path)
    elif suffix in (".npy", ".npz"):
        images = ArrayImages(path)
    elif suffix in (".h5", ".hdf5"):
        images = PyramidImages(path)
    elif suffix == ".safetensors":
        raise ToolError(
            f"{path}: no images; a cache can only stand for the reals, "
            "and `trainer evaluate` measures snapshots"
        )
    else:
        raise ToolError(f"{path}: not a set of images; use an .h5 pyramid, a folder, .zip, .npz or .npy")
    if len(images) == 0:
        raise ToolError(f"{path}: no image in it")
    return images


class PyramidImages(ImageSet):
    """The images of an HDF5 pyramid."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._reader = PyramidReader(path, threads=1)

    def __len__(self) -> int:
        return len(self._reader)

    def shapes(self, indices: Sequence[int]) -> "Counter[Shape]":
        """See `ImageSet`."""
        size = self._reader.resolution
        return Counter({(self._reader.channels, size, size): len(indices)})

    def read(self, indices: Sequence[int], resolution: int) -> NDArray[np.uint8]:
        """See `ImageSet`."""
        if resolution in self._reader.levels:
            return self._reader.read(indices, resolution)
        return np.stack([fit(image, resolution) for image in self._reader.read(indices)])


class ArrayImages(ImageSet):
    """The images of a NumPy array on disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        array = _map_array(path)
        if array.ndim == 3:
            array = array[:, None]
        elif array.ndim == 4 and array.shape[3] in (1, 3):
            array = array.transpose(0, 3, 1, 2)
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1] not in (1, 3):
            raise FormatError(
                f"{path}: {array.dtype} of shape {array.shape}; expected uint8 0..255 of shape [N, H, W, C]"
            )
        self._array: NDArray[np.uint8] = array

    def __len__(self) -> int:
        return len(self._array)

    def shapes(self, indices: Sequence[int]) -> "Counter[Shape]":
        """See `ImageSet`."""
        channels, height, width = self._array.shape[1:]
        return Counter({(channels, height, width): len(indices)})

    def read(self, indices: Sequence[int], resolution: int) -> NDArray[np.uint8]:
        """See `ImageSet`."""
        return np.stack([fit(np.ascontiguousarray(self._array[index]), resolution) for index in indices])


def _map_array(path: Path) -> NDArray[Any]:
    """The array of a `.npy`, or the only one of a `.npz`, mapped and not read.

    An array in a `.npz` is first unpacked to a temporary file, so that no more than a batch is in memory.
    """
    try:
        if path.suffix.lower() == ".npy":
            return _map_file(path)
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(prefix="swd-") as folder:
            names = archive.namelist()
            if len(names) != 1:
                found = ", ".join(name.removesuffix(".npy") for name in names) or "none"
                raise FormatError(f"{path}: expected one array, the images; found {found}")
            unpacked = Path(folder) / "images.npy"
            with archive.open(names[0]) as packed, unpacked.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
            return _map_file(unpacked)
    except (ValueError, EOFError, zipfile.BadZipFile, RuntimeError) as err:
        raise FormatError(f"{path}: not a readable NumPy file of numbers ({err})") from err


def _map_file(path: Path) -> NDArray[Any]:
    mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


class FileImages(ImageSet):
    """Image files, in the order of their names' bytes."""

    def __init__(self, name: str, names: Sequence[str]) -> None:
        """Args: `names` of all files, relative and with slashes; those that are no images are left out."""
        super().__init__(name)
        visible = [entry for entry in names if not any(part.startswith(".") for part in entry.split("/"))]
        self.names = sorted((n for n in visible if n.lower().endswith(SUFFIXES)), key=os.fsencode)
        if not self.names:
            kinds = Counter(Path(entry).suffix or "no ending" for entry in visible).most_common(3)
            found = ", ".join(f"{count:,} {kind}" for kind, count in kinds) or "nothing"
            raise ToolError(f"{name}: no image files in it (found {found}); known: {' '.join(SUFFIXES)}")

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """One file's contents."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def lossy(self) -> bool:
        """Whether there are JPEG or WebP files."""
        return any(name.lower().endswith(LOSSY_SUFFIXES) for name in self.names)

    def shapes(self, indices: Sequence[int]) -> "Counter[Shape]":
        """See `ImageSet`; only the headers are read."""

        def shape(index: int) -> Shape:
            with self.open(self.names[index]) as file:
                return read_header(file, self._label(index))

        with ThreadPoolExecutor() as pool:
            return Counter(pool.map(shape, indices))

    def read(self, indices: Sequence[int], resolution: int) -> NDArray[np.uint8]:
        """See `ImageSet`."""
        return np.stack([fit(self._decode(index), resolution) for index in indices])

    def _decode(self, index: int) -> NDArray[np.uint8]:
        with self.open(self.names[index]) as file:
            return decode(file, self._label(index))

    def _label(self, index: int) -> str:
        return f"{self.name}/{self.names[index]}"


class FolderImages(FileImages):
    """Image files in a folder and the folders in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        files = [
            (Path(parent) / name).relative_to(path).as_posix()
            for parent, _, names in os.walk(path)
            for name in names
        ]
        super().__init__(str(path), files)

    def open(self, name: str) -> BinaryIO:
        """One file's contents."""
        path = self._path / name
        if not path.is_file():
            raise FormatError(f"{path}: no file, but a dead link or a pipe; remove it")
        return path.open("rb")


class ZipImages(FileImages):
    """Image files in a zip."""

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as err:
            raise FormatError(f"{path}: not a readable zip ({err})") from err
        super().__init__(str(path), [name for name in self._archive.namelist() if not name.endswith("/")])

    def open(self, name: str) -> BinaryIO:
        """One file's contents."""
        try:
            return cast(BinaryIO, self._archive.open(name))
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as err:
            raise FormatError(f"{self.name}/{name}: cannot be unpacked ({err})") from err
