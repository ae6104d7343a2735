"""What a caller may give for a set of images, opened."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from celebahq.errors import ToolError
from swd.pipeline.cache import is_cache, load_cache
from swd.pipeline.memory import from_memory
from swd.pipeline.reference import Reference
from swd.pipeline.sources import ImageSet, open_images


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
    """Which of the sets the differences are to."""
    if baseline is None:
        return 0
    for names in ([fake.name for fake in fakes], [Path(fake.name).name for fake in fakes]):
        if names.count(baseline) == 1:
            return names.index(baseline)
    known = ", ".join(fake.name for fake in fakes)
    raise ToolError(f"--baseline {baseline}", f"not one of the sets of fakes ({known})")


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
