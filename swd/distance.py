"""The distance between two sets of descriptors, level by level and averaged, with standard errors."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .influence import measure_influence
from .protocol import Protocol
from .resources import Ranks, Resources
from .wasserstein import direction_distances

SCALE = 1000.0
"""Distances are reported times this."""


# Of the directions, those that influences are taken from: more of them hardly change the standard error.
_INFLUENCE_DIRECTIONS = 32


@dataclass(frozen=True)
class LevelDistances:
    """What was measured on one level."""

    along: Tensor
    """`[P]` float64, the distance along each direction."""
    on_a: Tensor
    """`[N]` float64, the influence of each image of the first set on the mean distance."""
    on_b: Tensor
    """`[K]` float64, of the second."""


@dataclass(frozen=True)
class Estimate:
    """A distance x 1000 and its standard error."""

    value: float
    se_directions: float
    """Due to the random directions."""
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
                    ranks=resources.ranks,
                )
            )
            advance(1)
    return summarize(levels, protocol.resolutions, same_images=same_images)


def measure_level(
    a: Tensor, b: Tensor, directions: Tensor, *, patches: int, channels: int, ranks: Ranks | None = None
) -> LevelDistances:
    """Distances along all directions, and influences from some of them.

    Args:
        a: `[N * patches, C * 49]` float32, normalised, an image's patches adjacent.
        b: `[K * patches, C * 49]`.
        directions: `[C * 49, P]`.
        patches: Per image.
        channels: C.
        ranks: Processes to divide the directions among.
    """
    ranks = ranks or Ranks()
    count = directions.shape[1]
    few = min(count, _INFLUENCE_DIRECTIONS)
    mine = ranks.deal(count)
    first, rest = [i for i in mine if i < few], [i for i in mine if i >= few]
    found = measure_influence(a, b, directions[:, first], patches=patches, channels=channels)
    along = torch.zeros(count, dtype=torch.float64)
    along[first] = found.along.cpu()
    along[rest] = direction_distances(a, b, directions[:, rest]).cpu()
    return LevelDistances(
        ranks.sum(along), ranks.sum(found.on_a.cpu()) / few, ranks.sum(found.on_b.cpu()) / few
    )


def summarize(
    levels: Sequence[LevelDistances], resolutions: Sequence[int], *, same_images: bool = False
) -> Distance:
    """Estimates of each level and of their average, x 1000; arguments as for `measure`."""
    average = LevelDistances(
        torch.stack([level.along for level in levels]).mean(0),
        torch.stack([level.on_a for level in levels]).mean(0),
        torch.stack([level.on_b for level in levels]).mean(0),
    )
    estimates = [_estimate(level, same_images) for level in levels]
    return Distance(
        len(average.on_a), dict(zip(resolutions, estimates, strict=True)), _estimate(average, same_images)
    )


def _estimate(found: LevelDistances, same_images: bool) -> Estimate:
    """The mean over directions with its standard errors.

    The directions are independent draws: sd / sqrt(P). So are the images of each set: the variances of the
    influences' means add up; an image in both sets counts once, with the sum of its influences.
    """
    parts = [found.on_a + found.on_b] if same_images else [found.on_a, found.on_b]
    variance = sum(float(part.var()) / len(part) for part in parts) if min(map(len, parts)) > 1 else None
    return Estimate(
        value=SCALE * float(found.along.mean()),
        se_directions=SCALE * float(found.along.std()) / math.sqrt(len(found.along)),
        se_images=None if variance is None else SCALE * math.sqrt(variance),
    )
