"""Distances between sets of descriptors, level by level, with what contributes to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from celebahq.processes import World
from swd.method.influence import measure_influence
from swd.method.measured import Estimate, Measured, Sample, average, corrected, from_distances
from swd.method.protocol import Protocol
from swd.method.wasserstein import Pair, pair_distances
from swd.pipeline.resources import Resources

# Of the directions, those that influences are taken from, in two halves, and those that are enough for what
# finite samples alone amount to.
_INFLUENCE_DIRECTIONS = 64
_OWN_DIRECTIONS = 128


@dataclass(frozen=True)
class Set:
    """Descriptors of one level, and whose they are."""

    rows: Tensor
    """`[N * patches, C * 49]` float32, normalised, an image's patches adjacent."""
    sample: Sample


@dataclass(frozen=True)
class Distance:
    """A distance between two sets of `images` each, or a difference of two."""

    images: int
    levels: dict[int, Estimate]
    """By resolution, finest first."""
    average: Estimate


def measure(
    load: Callable[[int], Sequence[Set]],
    pairs: Sequence[Pair],
    own: Sequence[Pair],
    protocol: Protocol,
    resources: Resources,
    stage: str,
) -> list[list[Measured]]:
    """Measure level by level, so that one level's descriptors are in memory at a time.

    Args:
        load: Gives the sets on a level, counted from the finest.
        pairs: Which of them are compared along all directions.
        own: Which are halves of one, compared along some.
        protocol: Directions, levels, patches per image.
        resources: Processes to divide directions among.
        stage: Name in the progress report.

    Returns:
        Of each of `pairs`, then of each of `own`, the distance on every level.
    """
    directions = protocol.draw_directions().to(resources.device)
    found = []
    with resources.progress(stage, len(protocol.resolutions), "levels") as advance:
        for level in range(len(protocol.resolutions)):
            found.append(measure_level(load(level), pairs, own, directions, protocol, resources.world))
            advance(1)
    return [list(levels) for levels in zip(*found, strict=True)]


def measure_level(
    sets: Sequence[Set],
    pairs: Sequence[Pair],
    own: Sequence[Pair],
    directions: Tensor,
    protocol: Protocol,
    world: World,
) -> list[Measured]:
    """Distances of one level; arguments as for `measure`, `directions` are `[C * 49, P]`."""
    count = directions.shape[1]
    half = (min(count, _INFLUENCE_DIRECTIONS) + 1) // 2
    few = min(count, _INFLUENCE_DIRECTIONS)
    halves = range(half), range(few - half, few)
    every = [*pairs, *own]
    mine = set(world.deal(count))
    parts = [[i for i in part if i in mine] for part in halves]
    found = measure_influence(
        [s.rows for s in sets],
        every,
        [directions[:, part] for part in parts],
        clusters=[s.sample.clusters[s.sample.members] for s in sets],
        patches=protocol.patches,
        channels=protocol.channels,
    )
    along = torch.zeros(len(every), count, dtype=torch.float64)
    for row, influence in zip(along, found, strict=True):
        for part, distances in zip(parts, influence.along, strict=True):
            row[part] = distances.cpu()
    few_own = min(count, _OWN_DIRECTIONS) if own else few
    for some, compared in ((range(few, few_own), every), (range(few_own, count), pairs)):
        rest = [i for i in some if i in mine]
        if rest:
            along[: len(compared), rest] = _compare(sets, compared, directions[:, rest])
    along = world.sum(along)
    figures = []
    for number, (a, b) in enumerate(every):
        used = count if number < len(pairs) else few_own
        on = [world.sum(side.cpu()) / half for side in (found[number].on_a, found[number].on_b)]
        samples = [sets[a].sample, sets[b].sample]
        figures.append(from_distances(along[number, :used], count, on, samples, half))
    return figures


def _compare(sets: Sequence[Set], pairs: Sequence[Pair], directions: Tensor) -> Tensor:
    """`pair_distances` of the sets that are in pairs, on the CPU."""
    used = sorted({index for pair in pairs for index in pair})
    places = [(used.index(a), used.index(b)) for a, b in pairs]
    return pair_distances([sets[index].rows for index in used], places, directions).cpu()


def summarize(levels: Sequence[Measured], resolutions: Sequence[int], images: int) -> Distance:
    """Estimates of each level and of their average, x 1000."""
    estimates = [level.estimate for level in levels]
    return Distance(images, dict(zip(resolutions, estimates, strict=True)), average(levels).estimate)


def correct(levels: Sequence[Measured], own: Sequence[tuple[float, Sequence[Measured]]]) -> list[Measured]:
    """`corrected` on every level; `own` are each set's share and its halves' distances."""
    return [
        corrected(level, [(share, halves[number]) for share, halves in own])
        for number, level in enumerate(levels)
    ]
