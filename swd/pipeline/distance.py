"""The distance between two sets of descriptors, level by level and averaged, with standard errors."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from celebahq.processes import World
from swd.method.influence import measure_influence
from swd.method.protocol import Protocol
from swd.method.wasserstein import direction_distances
from swd.pipeline.resources import Resources

SCALE = 1000.0
"""Distances are reported times this."""


# Of the directions, those that influences are taken from, in two halves.
_INFLUENCE_DIRECTIONS = 64


@dataclass(frozen=True)
class LevelDistances:
    """What was measured on one level."""

    along: Tensor
    """`[P]` float64, the distance along each direction."""
    on_a: Tensor
    """`[2, N]` float64, the influence of each image of the first set on the mean distance along some
    directions, and along as many others."""
    on_b: Tensor
    """`[2, K]` float64, of the second."""
    half: int
    """How many directions each row is of."""


@dataclass(frozen=True)
class Estimate:
    """A distance x 1000 and its standard error."""

    value: float
    se_directions: float
    """Due to the random directions; NaN for a single one."""
    se_images: float | None
    """Due to the choice of images and patches; None for a single image."""

    @property
    def se(self) -> float | None:
        """Of both together."""
        return None if self.se_images is None else math.hypot(self.se_directions, self.se_images)


@dataclass(frozen=True)
class Distance:
    """The sliced Wasserstein distance between two sets of `images` each."""

    images: int
    levels: dict[int, Estimate]
    """By resolution, finest first."""
    average: Estimate


def measure(
    load: Callable[[int], tuple[Tensor, Tensor]],
    protocol: Protocol,
    resources: Resources,
    stage: str,
    *,
    same_images: bool = False,
) -> Distance:
    """Measure level by level, so that one level's descriptors are in memory at a time.

    Args:
        load: Gives the descriptors of both sets on a level, counted from the finest: `[M, C * 49]` each,
            normalised, an image's patches adjacent.
        protocol: Directions, levels, patches per image.
        resources: Processes to divide directions among.
        stage: Name in the progress report.
        same_images: Whether both sets are patches of the same images in the same order.
    """
    directions = protocol.draw_directions().to(resources.device)
    levels = []
    with resources.progress(stage, len(protocol.resolutions), "levels") as advance:
        for level in range(len(protocol.resolutions)):
            levels.append(
                measure_level(
                    *load(level),
                    directions,
                    patches=protocol.patches,
                    channels=protocol.channels,
                    world=resources.world,
                )
            )
            advance(1)
    return summarize(levels, protocol.resolutions, same_images=same_images)


def measure_level(
    a: Tensor, b: Tensor, directions: Tensor, *, patches: int, channels: int, world: World | None = None
) -> LevelDistances:
    """Distances along all directions, and influences from some of them.

    Args:
        a: `[N * patches, C * 49]` float32, normalised, an image's patches adjacent.
        b: `[K * patches, C * 49]`.
        directions: `[C * 49, P]`.
        patches: Per image.
        channels: C.
        world: Processes to divide the directions among.
    """
    world = world or World()
    count = directions.shape[1]
    few = min(count, _INFLUENCE_DIRECTIONS)
    half = (few + 1) // 2
    mine = world.deal(count)
    halves = [[i for i in mine if i in part] for part in (range(half), range(few - half, few))]
    rest = [i for i in mine if i >= few]
    found = measure_influence(
        a, b, [directions[:, part] for part in halves], patches=patches, channels=channels
    )
    along = torch.zeros(count, dtype=torch.float64)
    for part, distances in zip(halves, found.along, strict=True):
        along[part] = distances.cpu()
    along[rest] = direction_distances(a, b, directions[:, rest]).cpu()
    on_a, on_b = (world.sum(influence.cpu()) / half for influence in (found.on_a, found.on_b))
    return LevelDistances(world.sum(along), on_a, on_b, half)


def summarize(
    levels: Sequence[LevelDistances], resolutions: Sequence[int], *, same_images: bool = False
) -> Distance:
    """Estimates of each level and of their average, x 1000; arguments as for `measure`."""
    average = LevelDistances(
        torch.stack([level.along for level in levels]).mean(0),
        torch.stack([level.on_a for level in levels]).mean(0),
        torch.stack([level.on_b for level in levels]).mean(0),
        levels[0].half,
    )
    estimates = [_estimate(level, same_images) for level in levels]
    return Distance(
        average.on_a.shape[1], dict(zip(resolutions, estimates, strict=True)), _estimate(average, same_images)
    )


def _estimate(found: LevelDistances, same_images: bool) -> Estimate:
    """The mean over directions with its standard errors.

    The directions are independent draws: sd / sqrt(P). So are the images of each set: the variances of the
    influences' means add up; an image in both sets counts once, with the sum of its influences.
    """
    sides = [found.on_a + found.on_b] if same_images else [found.on_a, found.on_b]
    count = len(found.along)
    spread = float(found.along.std()) if count > 1 else math.nan
    several = min(side.shape[1] for side in sides) > 1
    variance = sum(_variance(side, found.half / count) / side.shape[1] for side in sides) if several else None
    return Estimate(
        value=SCALE * float(found.along.mean()),
        se_directions=SCALE * spread / math.sqrt(count),
        se_images=None if variance is None else SCALE * math.sqrt(variance),
    )


def _variance(halves: Tensor, share: float) -> float:
    """Variance over images `[2, N]` of influences along all directions, of which a row's are a share.

    What the rows have in common is the images'; the rest is due to the few directions, and the smaller the
    more there are.
    """
    (first, common), (_, second) = torch.cov(halves).tolist()
    own = (first + second) / 2 - common
    return max(0.0, float(common + share * own))
