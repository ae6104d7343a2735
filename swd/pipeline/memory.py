"""Images that a Python program holds: arrays, tensors, and torch's data sets and loaders of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from celebahq.errors import FormatError
from swd.pipeline.images import fit
from swd.pipeline.sources import ImageSet, Shape


class MemoryImages(ImageSet):
    """Images of an array or tensor."""

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


class DatasetImages(ImageSet):
    """Images of a map-style torch data set, each an item or the first of an item's parts."""

    def __init__(self, name: str, dataset: "Dataset[Any]") -> None:
        super().__init__(name)
        self._dataset: Any = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def shapes(self, indices: Sequence[int]) -> "Counter[Shape]":
        """See `ImageSet`; the first of these images stands for all, and `read` checks the others."""
        channels, height, width = self._image(indices[0]).shape
        return Counter({(channels, height, width): len(indices)})

    def read(self, indices: Sequence[int], resolution: int) -> NDArray[np.uint8]:
        """See `ImageSet`."""
        images = [self._image(index) for index in indices]
        for index, image in zip(indices, images, strict=True):
            if image.shape[1] != image.shape[2] or image.shape[1] < resolution:
                raise FormatError(
                    self.name,
                    f"item {index} is {image.shape[2]}x{image.shape[1]} px; expected squares of "
                    f"{resolution} px or more",
                )
        return np.stack([fit(image, resolution) for image in images])

    def _image(self, index: int) -> NDArray[np.uint8]:
        return planes_first(f"{self.name}, item {index}", _first_part(self._dataset[index]), 3)


def from_memory(name: str, images: Any) -> ImageSet | None:
    """The set that an object is, or None if it is none.

    Args:
        name: For messages and tables.
        images: An array or tensor; a map-style data set, read when it is needed; a loader or an iterable data
            set, which is read into memory.

    Raises:
        FormatError: Its images are not uint8 `[C, H, W]` or `[H, W, C]`.
    """
    if isinstance(images, Tensor | np.ndarray):
        return MemoryImages(name, images)
    if isinstance(images, DataLoader):
        return MemoryImages(name, _gather(name, images, 4))
    if isinstance(images, IterableDataset):
        return MemoryImages(name, _gather(name, images, 3))
    if isinstance(images, Dataset) or (hasattr(images, "__getitem__") and hasattr(images, "__len__")):
        return None if isinstance(images, str | bytes | Sequence) else DatasetImages(name, images)
    return None


def _gather(name: str, items: Iterable[Any], dimensions: int) -> NDArray[np.uint8]:
    """All items in one array; of 3 dimensions images, of 4 batches."""
    parts = [planes_first(name, _first_part(item), dimensions) for item in items]
    if not parts:
        raise FormatError(name, "no image in it")
    return np.concatenate(parts) if dimensions == 4 else np.stack(parts)


def _first_part(item: Any) -> Any:
    """The image of an (image, label) item, or of one with names."""
    if isinstance(item, tuple | list):
        return item[0]
    return next(iter(item.values())) if isinstance(item, dict) else item


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
