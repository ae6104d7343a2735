"""The distance between two sets of descriptors, level by level and averaged, with standard errors."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .influence import Influence, measure_influence
from .protocol import Protocol
from .resources import Ranks, Resources

SCALE = 1000.0
"""Distances are reported times this."""


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
            levels.append(_measure_level(*load(level), directions, protocol, resources.ranks))
            advance(1)
    return summarize(levels, protocol.resolutions, same_images=same_images)


def _measure_level(a: Tensor, b: Tensor, directions: Tensor, protocol: Protocol, ranks: Ranks) -> Influence:
    """`measure_influence`, the directions divided among the processes."""
    mine = ranks.deal(directions.shape[1])
    part = measure_influence(
        *(a, b, directions[:, mine]), patches=protocol.patches, channels=protocol.channels
    )
    along = torch.zeros(directions.shape[1], dtype=torch.float64)
    along[mine] = part.along.cpu()
    return Influence(ranks.sum(along), ranks.sum(part.on_a.cpu()), ranks.sum(part.on_b.cpu()))


def summarize(
    levels: Sequence[Influence], resolutions: Sequence[int], *, same_images: bool = False
) -> Distance:
    """Estimates of each level and of their average, x 1000; arguments as for `measure`."""
    average = Influence(
        *(
            torch.stack([getattr(level, name) for level in levels]).mean(0)
            for name in ("along", "on_a", "on_b")
        )
    )
    estimates = [_estimate(level, same_images) for level in levels]
    return Distance(
        len(average.on_a), dict(zip(resolutions, estimates, strict=True)), _estimate(average, same_images)
    )


def _estimate(found: Influence, same_images: bool) -> Estimate:
    """The mean over directions with its standard errors.

    The directions are independent draws: sd / sqrt(P). So are the images of each set: the variances of the
    influences' means add up; an image in both sets counts once, with the sum of its influences.
    """
    count = len(found.along)
    on_a, on_b = found.on_a / count, found.on_b / count
    parts = [on_a + on_b] if same_images else [on_a, on_b]
    variance = sum(float(part.var()) / len(part) for part in parts) if min(map(len, parts)) > 1 else None
    return Estimate(
        value=SCALE * float(found.along.mean()),
        se_directions=SCALE * float(found.along.std()) / math.sqrt(count),
        se_images=None if variance is None else SCALE * math.sqrt(variance),
    )
