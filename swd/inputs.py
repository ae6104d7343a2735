"""What a caller may give for a set of images, opened: a path, or what a Python program holds."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from celebahq.errors import FormatError, ToolError, WrongUse
from swd.pipeline.cache import is_cache, load_cache
from swd.pipeline.reference import Reference
from swd.pipeline.sources import ImageSet, MemoryImages, Shape, fit, open_images, planes_first


def open_set(images: Any, name: str | None = None) -> ImageSet:
    """The set of images that a path or an object is; see `compare`.

    Raises:
        ToolError: It is none.
    """
    if isinstance(images, ImageSet):
        found: ImageSet | None = images
    elif isinstance(images, str | os.PathLike):
        found = open_images(Path(images))
    else:
        found = from_memory(name or type(images).__name__, images)
    if found is None:
        raise ToolError(
            type(images).__name__,
            "not a set of images; use a path, an ImageSet, an array or tensor, a torch Dataset or DataLoader",
        )
    if len(found) == 0:
        raise ToolError(found.name, "no image in it")
    return found


def open_reals(real: Any, device: torch.device) -> ImageSet | Reference:
    """The real images, or what a cache holds of them."""
    if isinstance(real, str | os.PathLike) and is_cache(Path(real)):
        return load_cache(Path(real), device)
    return open_set(real, "real")


def open_fakes(fake: Any) -> list[ImageSet]:
    """One set or several, each under a name."""
    if isinstance(fake, Mapping):
        named = [(str(name), images) for name, images in fake.items()]
    elif isinstance(fake, list | tuple):
        named = [(f"fake {number}", images) for number, images in enumerate(fake, 1)]
    else:
        named = [("fake", fake)]
    if not named:
        raise ToolError("fake", "no set of images to compare")
    sets = [open_set(images, name) for name, images in named]
    if isinstance(fake, Mapping):
        for (name, _), images in zip(named, sets, strict=True):
            images.name = name
    return sets


def place_of(baseline: str | None, fakes: Sequence[ImageSet]) -> int:
    """Which of the sets the differences are to.

    Raises:
        WrongUse: None of them is called so, or more than one.
    """
    if baseline is None:
        return 0
    for names in ([fake.name for fake in fakes], [Path(fake.name).name for fake in fakes]):
        if names.count(baseline) == 1:
            return names.index(baseline)
    known = ", ".join(fake.name for fake in fakes)
    raise WrongUse(f"--baseline {baseline}", f"not the name of one of the sets of fakes alone ({known})")


def check_pairs(fakes: Sequence[ImageSet]) -> None:
    """Check that images at the same place can belong together.

    Raises:
        ToolError: The sets differ in number, or their files in name.
    """
    first = fakes[0]
    for other in fakes[1:]:
        if len(other) != len(first):
            raise ToolError(
                "--paired",
                f"{first.name} has {len(first):,} images, {other.name} {len(other):,}; each needs its like",
            )
        names = getattr(first, "names", None), getattr(other, "names", None)
        if None not in names and names[0] != names[1]:
            raise ToolError("--paired", f"the files of {first.name} and {other.name} have different names")


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
