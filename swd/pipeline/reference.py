"""The real images' side of comparisons: their descriptors, and their distances to themselves."""

from dataclasses import dataclass
from typing import Protocol as Interface

import torch
from torch import Tensor

from swd.method.copies import cluster, count_different
from swd.method.descriptors import normalize_descriptors
from swd.method.measured import Measured, Sample, own_share
from swd.method.protocol import Protocol
from swd.method.randomness import REALS, image_order
from swd.pipeline.distance import Distance, Set, correct, measure, summarize
from swd.pipeline.extraction import Extracted, extract, halves, say_copies
from swd.pipeline.resources import Resources
from swd.pipeline.sources import ImageSet
from swd.pipeline.store import reserve_room


class Levels(Interface):
    """A set's normalised descriptors."""

    def load(self, level: int) -> Tensor:
        """Of one level, `[M, C * 49]` float32 on the device of the computation."""


@dataclass(frozen=True)
class Own:
    """What the reals alone amount to, for being a finite sample."""

    share: float
    """Of the squared distance of their halves that is their part in that of any comparison."""
    levels: list[Measured]
    """The distance between their halves."""


@dataclass(frozen=True)
class Reference:
    """What sets of fakes are compared with."""

    name: str
    protocol: Protocol
    levels: Levels
    sample: Sample
    own: Own | None
    """None for a single image."""
    fresh_patches: Distance
    """Of the same images, cut anew: what the choice of patches alone amounts to."""
    disjoint: Distance | None
    """Between two sets without a common image, as large as the comparison's if there are enough images,
    else half of what there is: the figure of a perfect generator. None for a single image."""
    disjoint_corrected: Distance | None


def prepare_reference(images: ImageSet, protocol: Protocol, resources: Resources) -> Reference:
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

    def described(indices: list[int], draws: tuple[int, ...], stage: str) -> list[Extracted]:
        return extract(images, indices, protocol, resources, set_id=REALS, draws=draws, stage=stage)

    reals, fresh = described(used, (0, 1), "reals")
    say_copies(images.name, reals.keys, resources)
    extracted = [reals, *(described(others, (0,), "further reals") if others else [])]
    keys = torch.cat([part.keys for part in extracted])
    sample = Sample("reals", torch.arange(len(used)), cluster(keys))
    first, second = set(order[:half]), set(order[half : 2 * half])
    numbers = [*used, *others]
    parts = [sample.members]
    parts += [_places(numbers, side) for side in (first, second) if side]
    own = halves(sample.clusters[sample.members])
    parts += own or ()

    def load(level: int) -> list[Set]:
        patches = torch.cat([part.load_patches(level) for part in extracted])
        images = torch.unflatten(patches, 0, (-1, protocol.patches))
        sets = [Set(fresh.load(level), sample)]
        for part in parts:
            rows = images[part.to(images.device)].flatten(0, 1)
            chosen = Sample(sample.population, part, sample.clusters)
            sets.append(Set(normalize_descriptors(rows, out=rows), chosen))
        return sets

    # The first of the disjoint sets is all that is compared, if there are enough others.
    compared = [(1, 0)] + ([(1 if others and half == len(used) else 2, 3)] if half else [])
    last = len(parts)
    found = measure(
        *(load, compared, [(last - 1, last)] if own else []),
        *(protocol, resources, "distances, reals"),
    )
    resolutions, result_own, disjoint_corrected = protocol.resolutions, None, None
    if own:
        sizes = [count_different(sample.clusters[part]) for part in own]
        result_own = Own(own_share(sum(sizes), *sizes), found[-1])
        if half:
            # Both sides are samples of the reals, of `half` images each.
            both = [(own_share(half, *sizes), result_own.levels)] * 2
            disjoint_corrected = summarize(correct(found[1], both), resolutions, half)
    return Reference(
        images.name,
        protocol,
        reals,
        sample,
        result_own,
        fresh_patches=summarize(found[0], resolutions, len(used)),
        disjoint=summarize(found[1], resolutions, half) if half else None,
        disjoint_corrected=disjoint_corrected,
    )


def _places(numbers: list[int], chosen: set[int]) -> Tensor:
    """Where chosen numbers stand among some."""
    return torch.tensor([place for place, number in enumerate(numbers) if number in chosen])
