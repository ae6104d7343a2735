"""Figures with what each direction and each image contributes to them, to first order.

A figure is a mean over random directions, and its images are a random sample: the sum over directions and
images of squared contributions is its variance. Contributions of a difference of two figures are differences
of contributions, so that what the two have in common cancels; those of a root come from its derivative. That
is all there is to standard errors here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import torch
from torch import Tensor

from swd.method.copies import cluster, count_different

SCALE = 1000.0
"""Figures are reported times this."""


@dataclass(frozen=True)
class Sample:
    """The images of a set, as members of the population that they were drawn from."""

    population: str
    """Sets of one population may have images in common: the reals, or fakes of equal latents."""
    members: Tensor
    """`[N]` int64, each image's place in the population."""
    clusters: Tensor
    """`[population]` int64, from 0 on: places of one cluster hold the same image, and count as one draw."""
    paired: bool = False
    """Whether other sets have images at the same places, so that in differences a draw is one of both."""


@dataclass(frozen=True)
class Estimate:
    """A figure x 1000 and its standard error."""

    value: float
    se_directions: float
    """Due to the random directions; NaN for a single one."""
    se_images: float | None
    """Due to the choice of images and patches; None for a single image."""

    @property
    def se(self) -> float | None:
        """Of both together."""
        return None if self.se_images is None else math.hypot(self.se_directions, self.se_images)

    @property
    def upper_bound(self) -> float | None:
        """Of a corrected distance that came out as 0: the root of twice its square's standard error.

        The standard error at 0 is half the root of the square's; see `corrected`.
        """
        return None if self.value > 0 or self.se is None else 2 * math.sqrt(2) * self.se


@dataclass(frozen=True)
class Measured:
    """A figure and the contributions to it."""

    value: float
    directions: Tensor
    """`[P]` float64."""
    images: Mapping[str, Tensor]
    """By population `[3, clusters]` float64: the mean over two halves of the influences' directions, half
    the halves' difference, and that difference as it would be over all directions."""
    several: bool = True
    """Whether there is more than one image of each set."""
    clusters: Mapping[str, Tensor] = field(default_factory=dict)
    """Of populations of paired sets, whose `images` are `[3, places]`: which places count as one draw."""

    @property
    def estimate(self) -> Estimate:
        """With its standard errors.

        What the halves have in common is the images'; the rest is due to the few directions, and the smaller
        the more there are.
        """
        variance = 0.0
        for population, contributions in self.images.items():
            clusters = self.clusters.get(population)
            mean, difference, remainder = (
                contributions if clusters is None else _add_up(contributions, clusters)
            )
            common = float(mean.square().sum() - difference.square().sum())
            variance += max(0.0, common + 2 * float(remainder.square().sum()))
        return Estimate(
            SCALE * self.value,
            SCALE * float(self.directions.square().sum().sqrt()),
            SCALE * math.sqrt(variance) if self.several else None,
        )

    def __add__(self, other: "Measured") -> "Measured":
        images = dict(self.images)
        for population, contributions in other.images.items():
            images[population] = images.get(population, 0) + contributions
        clusters = dict(other.clusters)
        for population, mine in self.clusters.items():
            # Images that belong together are the same draw as others only if all of them are.
            theirs = clusters.get(population, mine)
            clusters[population] = cluster(mine * len(mine) + theirs)
        return Measured(
            self.value + other.value,
            self.directions + other.directions,
            images,
            self.several and other.several,
            clusters,
        )

    def __mul__(self, factor: float) -> "Measured":
        images = {population: factor * contributions for population, contributions in self.images.items()}
        return replace(self, value=factor * self.value, directions=factor * self.directions, images=images)

    def __sub__(self, other: "Measured") -> "Measured":
        return self + other * -1.0

    def squared(self) -> "Measured":
        """Its square, and the contributions to that."""
        return (self * (2 * self.value)).moved_to(self.value**2)

    def moved_to(self, value: float) -> "Measured":
        """Another figure with the same contributions."""
        return replace(self, value=value)


def average(figures: Sequence[Measured]) -> Measured:
    """Their mean."""
    return reduce(Measured.__add__, figures) * (1 / len(figures))


def from_distances(
    along: Tensor, count: int, on: Sequence[Tensor], samples: Sequence[Sample], half: int
) -> Measured:
    """The mean of distances along some of the directions.

    Args:
        along: `[p]` float64, along the first directions.
        count: How many directions there are in all.
        on: Of each set `[2, N]` float64, the influences of its images on the mean distance along some
            directions and along as many others.
        samples: Of each set, which images those are.
        half: How many directions a row of influences is of.
    """
    used = len(along)
    directions = torch.zeros(count, dtype=torch.float64)
    spread = math.sqrt(used / (used - 1)) if used > 1 else math.nan
    directions[:used] = (along - along.mean()) * (spread / used)
    images: dict[str, Tensor] = {}
    for influences, sample in zip(on, samples, strict=True):
        contributions = _contributions(influences, sample, half / used)
        images[sample.population] = images.get(sample.population, 0) + contributions
    several = all(count_different(sample.clusters[sample.members]) > 1 for sample in samples)
    clusters = {sample.population: sample.clusters for sample in samples if sample.paired}
    return Measured(float(along.mean()), directions, images, several, clusters)


def _contributions(influences: Tensor, sample: Sample, share: float) -> Tensor:
    """`Measured.images` of one set, whose images' weights are 1/N.

    The variance is that of Student's t with N - 1 degrees of freedom, (N - 1) / (N - 3), for few images tell
    little of their own spread. Of two or three images it would be infinite.
    """
    mean, difference = (influences[0] + influences[1]) / 2, (influences[0] - influences[1]) / 2
    rows = torch.stack([mean, difference, math.sqrt(share) * difference])
    rows = (rows - rows.mean(dim=1, keepdim=True)) / influences.shape[1]
    independent = count_different(sample.clusters[sample.members])
    freedom = math.sqrt(independent / max(1, independent - 3))
    places = rows.new_zeros(3, len(sample.clusters))
    places[:, sample.members] = rows * freedom
    return places if sample.paired else _add_up(places, sample.clusters)


def _add_up(places: Tensor, clusters: Tensor) -> Tensor:
    """`[3, places]` -> `[3, clusters]`."""
    return places.new_zeros(3, int(clusters.max()) + 1).index_add_(1, clusters, places)


def corrected(distance: Measured, own: Sequence[tuple[float, Measured]]) -> Measured:
    """A distance without what the finite samples alone amount to.

    Args:
        distance: Of two sets.
        own: Of each set, the distance between its halves, and the share of its square that is the set's own
            part in the square of `distance`.

    Returns:
        The root of the difference of squares. Where that difference is negative, the figure is 0; below its
        own standard error, contributions are those at the standard error, for a root has no slope at 0.

    Source: docs/precision.md derives it.
    """
    square = reduce(Measured.__sub__, [halves.squared() * share for share, halves in own], distance.squared())
    root = math.sqrt(max(0.0, square.value))
    slope_at = math.sqrt(max(square.value, square_error(square), torch.finfo(torch.float64).tiny))
    return (square * (1 / (2 * slope_at))).moved_to(root)


def square_error(square: Measured) -> float:
    """Standard error of a square that was not scaled; 0 where it is unknown."""
    error = square.estimate.se
    return 0.0 if error is None or math.isnan(error) else error / SCALE


def own_share(size: int, first: int, second: int) -> float:
    """Share of the squared distance of a set's halves that is the own part of `size` images drawn likewise.

    The square of a distance that is due to sampling is proportional to the sum of the reciprocal sizes.
    """
    return (1 / size) / (1 / first + 1 / second)
