"""Sets of images on disk: a pyramid file, a folder, a zip or an array, read as uint8 batches."""

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError, ToolError
from celebahq.pictures.files import FolderFiles, PictureFiles, ZipFiles
from celebahq.pictures.suffixes import LOSSY_SUFFIXES
from celebahq.pyramid import PyramidReader
from celebahq.readers.npy import map_npy
from celebahq.readers.zips import open_zip, zip_errors
from swd.pipeline.images import decode, fit, read_header
from swd.pipeline.room import full_disk_named, require_room

Shape = tuple[int, int, int]
"""(channels, height, width) of an image."""


class ImageSet(ABC):
    """Images under one name, counted from 0."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.remarks: list[str] = []
        """What the user should know: files that are left out, say."""

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
        raise ToolError(path, "no such file or folder")
    images: ImageSet
    if path.is_dir():
        images = FileImages(FolderFiles(path))
    elif suffix == ".zip":
        images = FileImages(ZipFiles(path))
    elif suffix in (".npy", ".npz"):
        images = ArrayImages(path)
    elif suffix in (".h5", ".hdf5"):
        images = PyramidImages(path)
    elif suffix == ".safetensors":
        raise ToolError(
            path, "no images; a cache can only stand for the reals, and `trainer evaluate` measures snapshots"
        )
    else:
        raise ToolError(path, "not a set of images; use an .h5 pyramid, a folder, .zip, .npz or .npy")
    if len(images) == 0:
        raise ToolError(path, "no image in it")
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
                path, f"{array.dtype} of shape {array.shape}; expected uint8 0..255 of shape [N, H, W, C]"
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
    """The array of a `.npy`, or the one of images in a `.npz`, mapped and not read.

    An array in a `.npz` is first unpacked to a temporary file, so that no more than a batch is in memory.
    """
    if path.suffix.lower() == ".npy":
        return map_npy(path)
    with open_zip(path) as archive, tempfile.TemporaryDirectory(prefix="swd-") as folder:
        member = _only_images(path, archive.namelist())
        unpacked = Path(folder) / "images.npy"
        remedy = "let TMPDIR name a folder with more room, or save the array as .npy"
        require_room(folder, archive.getinfo(member).file_size, f"images of {path}", remedy)
        with (
            full_disk_named(folder, remedy),
            zip_errors(f"{path}: {member}"),
            archive.open(member) as packed,
            unpacked.open("wb") as file,
        ):
            shutil.copyfileobj(packed, file, 1 << 20)
        return map_npy(unpacked, str(path))


def _only_images(path: Path, names: Sequence[str]) -> str:
    """The entry of a `.npz` that holds the images: the only one, or `arr_0` beside statistics of them."""
    if len(names) == 1:
        return names[0]
    if "arr_0.npy" in names:
        return "arr_0.npy"
    found = ", ".join(name.removesuffix(".npy") for name in names) or "none"
    raise FormatError(path, f"expected one array, the images, or one called arr_0; found {found}")


class FileImages(ImageSet):
    """Image files of a folder or a zip."""

    def __init__(self, files: PictureFiles) -> None:
        super().__init__(str(files.path))
        self._files, self.names = files, files.names
        if files.remark:
            self.remarks.append(files.remark)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def lossy(self) -> bool:
        """Whether there are JPEG or WebP files."""
        return any(name.lower().endswith(LOSSY_SUFFIXES) for name in self.names)

    def shapes(self, indices: Sequence[int]) -> "Counter[Shape]":
        """See `ImageSet`; only the headers are read."""

        def shape(index: int) -> Shape:
            with self._files.open(self.names[index]) as file:
                return read_header(file, self._label(index))

        with ThreadPoolExecutor() as pool:
            return Counter(pool.map(shape, indices))

    def read(self, indices: Sequence[int], resolution: int) -> NDArray[np.uint8]:
        """See `ImageSet`."""
        return np.stack([fit(self._decode(index), resolution) for index in indices])

    def _decode(self, index: int) -> NDArray[np.uint8]:
        with self._files.open(self.names[index]) as file:
            return decode(file, self._label(index))

    def _label(self, index: int) -> str:
        return f"{self.name}/{self.names[index]}"
