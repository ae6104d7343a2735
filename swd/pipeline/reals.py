"""The real images' side of comparisons: their descriptors, and their distance to themselves."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from swd.method.descriptors import normalize_descriptors
from swd.method.protocol import Protocol
from swd.method.randomness import REALS, image_order
from swd.pipeline.distance import Distance, measure
from swd.pipeline.extraction import extract
from swd.pipeline.resources import Resources
from swd.pipeline.sources import ImageSet
from swd.pipeline.store import DescriptorStore, reserve_room


class Levels(ABC):
    """A set's normalised descriptors."""

    @abstractmethod
    def load(self, level: int) -> Tensor:
        """Of one level, `[M, C * 49]` float32 on the device of the computation."""


class ExtractedLevels(Levels):
    """Descriptors in this process's memory or files; all processes' are gathered when they are needed."""

    def __init__(self, store: DescriptorStore, resources: Resources) -> None:
        self._store, self._resources = store, resources

    def load(self, level: int) -> Tensor:
        """See `Levels`."""
        patches = self.load_patches(level)
        return normalize_descriptors(patches, out=patches)

    def load_patches(self, level: int) -> Tensor:
        """Before normalisation, `[M, C, 7, 7]`."""
        return self._resources.world.gather_rows(self._store.load(level, self._resources.device))


@dataclass(frozen=True)
class Reals:
    """What sets of fakes are compared with."""

    name: str
    protocol: Protocol
    levels: Levels
    fresh_patches: Distance
    """Of the same images, cut anew: what the choice of patches alone amounts to."""
    disjoint: Distance | None
    """Between two sets without a common image, as large as the comparison's if there are enough images,
    else half of what there is: the figure of a perfect generator. None for a single image."""


def prepare_reals(images: ImageSet, protocol: Protocol, resources: Resources) -> Reals:
    """Cut the patches of the real images, and compare the reals with themselves.

    Args:
        images: The real images; up to twice as many as the protocol's are used.
        protocol: What to measure.
        resources: Device, threads and processes.

    Raises:
        FormatError: An image is damaged.
        ToolError: There is not enough room for temporary files.
    """
    half = min(protocol.images, len(images) // 2)
    order = image_order(len(images), seed=protocol.seed, set_id=REALS).tolist()
    used, others = sorted(order[: protocol.images]), sorted(order[protocol.images : 2 * half])
    room = reserve_room(protocol, [len(used), len(used), len(others)], resources.world.size)
    if room:
        resources.say(room)
    first, second = set(order[:half]), set(order[half : 2 * half])

    def described(indices: list[int], draws: tuple[int, ...], stage: str) -> list[ExtractedLevels]:
        stores = extract(images, indices, protocol, resources, set_id=REALS, draws=draws, stage=stage)
        return [ExtractedLevels(store, resources) for store in stores]

    levels, fresh = described(used, (0, 1), "reals")
    (other_levels,) = described(others, (0,), "further reals") if others else (None,)

    def halves(level: int) -> tuple[Tensor, Tensor]:
        patches = torch.unflatten(levels.load_patches(level), 0, (-1, protocol.patches))

        def of(members: set[int]) -> Tensor:
            chosen = torch.tensor([index in members for index in used], device=patches.device)
            return patches[chosen].flatten(0, 1)

        sides = [of(first), of(second)]
        if other_levels is not None:
            sides[1] = torch.cat([sides[1], other_levels.load_patches(level)])
        return normalize_descriptors(sides[0], out=sides[0]), normalize_descriptors(sides[1], out=sides[1])

    return Reals(
        images.name,
        protocol,
        levels,
        fresh_patches=measure(
            lambda level: (levels.load(level), fresh.load(level)),
            *(protocol, resources, "distances, fresh patches"),
            same_images=True,
        ),
        disjoint=measure(halves, protocol, resources, "distances, disjoint reals") if half else None,
    )
