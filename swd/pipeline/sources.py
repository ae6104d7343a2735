"""Sets of images: a pyramid file, a folder, a zip or an array, read as uint8 batches."""

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
from PIL import Image
from torch import Tensor

from celebahq.errors import FormatError, ToolError
from celebahq.pictures.decoding import decode_picture, picture_shape
from celebahq.pictures.files import FolderFiles, PictureFiles, ZipFiles
from celebahq.pictures.suffixes import LOSSY_SUFFIXES
from celebahq.pyramid import PyramidReader, is_data_set
from celebahq.readers.npy import map_npy
from celebahq.readers.zips import open_zip, zip_errors
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
    if is_data_set(path):
        images = PyramidImages(path)
    elif path.is_dir():
        images = FileImages(FolderFiles(path))
    elif suffix == ".zip":
        images = FileImages(ZipFiles(path))
    elif suffix in (".npy", ".npz"):
        images = MemoryImages(str(path), _map_array(path))
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
    """The images of an HDF5 pyramid, or of several with a manifest."""

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


class MemoryImages(ImageSet):
    """Images of an array or tensor, in memory or on disk."""

    def __init__(self, name: str, images: NDArray[Any] | Tensor) -> None:
        """Args: `images` are uint8 `[N, C, H, W]` or `[N, H, W, C]`.

        Raises:
            FormatError: Of another type or shape.
        """
        super().__init__(name)
        self._images = planes_first(name, images, 4)

    def __len__(self) -> int:
        return len(self._images)

    def shapes(self, indices: Sequence[int]) -> "Counter[Shape]":
        """See `ImageSet`."""
        channels, height, width = self._images.shape[1:]
        return Counter({(channels, height, width): len(indices)})

    def read(self, indices: Sequence[int], resolution: int) -> NDArray[np.uint8]:
        """See `ImageSet`."""
        return np.stack([fit(np.ascontiguousarray(self._images[index]), resolution) for index in indices])


def planes_first(name: str, images: Any, dimensions: int) -> NDArray[np.uint8]:
    """Images as uint8 `[..., C, H, W]`, C = 1 or 3, without a copy.

    Args:
        name: For messages.
        images: An array or tensor, or what NumPy takes for one (a Pillow image).
        dimensions: 3 for an image, which may lack its channel, 4 for a batch.

    Raises:
        FormatError: Of another type or shape.
    """
    array = images.detach().cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
    found = f"{array.dtype} of shape {array.shape}"
    if array.ndim == dimensions - 1:
        array = np.expand_dims(array, -3)
    elif array.ndim == dimensions and array.shape[-1] in (1, 3):
        array = np.moveaxis(array, -1, -3)
    if array.dtype != np.uint8 or array.ndim != dimensions or array.shape[-3] not in (1, 3):
        raise FormatError(name, f"{found}; expected uint8 0..255 of shape [N, C, H, W] or [N, H, W, C]")
    return array


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
                return picture_shape(file, self._label(index), deep="refuse")

        with ThreadPoolExecutor() as pool:
            return Counter(pool.map(shape, indices))

    def read(self, indices: Sequence[int], resolution: int) -> NDArray[np.uint8]:
        """See `ImageSet`."""
        return np.stack([fit(self._decode(index), resolution) for index in indices])

    def _decode(self, index: int) -> NDArray[np.uint8]:
        with self._files.open(self.names[index]) as file:
            # Nothing that the figures would show: no transparency laid on a colour, no 16 bits cut to 8.
            pixels = decode_picture(file, self._label(index), alpha="refuse", deep="refuse")
        return pixels.transpose(2, 0, 1)

    def _label(self, index: int) -> str:
        return f"{self.name}/{self.names[index]}"


def fit(image: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """Reduce a square image: by a box filter where the factor is a power of two, else by Lanczos.

    The box mean of the original pixels is rounded once, half to even, as in a pyramid file.

    Args:
        image: `[C, s, s]` uint8, s >= `resolution`.
        resolution: Side of the result in pixels.

    Returns:
        `[C, resolution, resolution]` uint8.
    """
    channels, size = image.shape[:2]
    if size == resolution:
        return image
    if is_box_factor(size, resolution):
        factor = size // resolution
        blocks = image.reshape(channels, resolution, factor, resolution, factor)
        means: NDArray[np.float64] = blocks.mean(axis=(2, 4), dtype=np.float64)
        return np.rint(means).astype(np.uint8)
    planes = [
        Image.fromarray(plane).resize((resolution, resolution), Image.Resampling.LANCZOS) for plane in image
    ]
    return np.stack([np.asarray(plane) for plane in planes])


def is_box_factor(size: int, resolution: int) -> bool:
    """Whether `size` is `resolution` times a power of two."""
    factor, rest = divmod(size, resolution)
    return rest == 0 and factor & (factor - 1) == 0
