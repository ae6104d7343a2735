"""How much each image contributes to a distance: the basis of its standard error.

Let phi be the function whose slope is the sign of F_b - F_a, the difference of the two distribution
functions. The 1-D distance is E[phi(a)] - E[phi(b)], and phi(x) is the influence of a value x: the derivative
of the distance with respect to its weight. An image's influence is the mean over its patches and over
directions, corrected for the image's part in the mean and standard deviation that normalised its set. The
spread of the influences gives the distance's standard error, without computing it anew for resampled sets of
images (the infinitesimal jackknife; Efron & Tibshirani 1993, chapter 21).

Where F_b - F_a is no larger than its sampling error, its absolute value spreads less than a slope of 1 or -1
says. There the slope is the sign that another sample is expected to show: the error function of the
difference in its standard errors. docs/precision.md says why that is the right one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from swd.method.copies import cluster
from swd.method.wasserstein import (
    Pair,
    match_quantiles,
    over_directions,
    row_blocks,
    sort_rows,
    sorted_distances,
)

# phi is tabulated, with bins far narrower than the distances of interest.
_BINS = 512
# Quantiles at which it is seen how much a distribution function varies, and the clusters that are looked at.
_GROUPS, _FEW_CLUSTERS = 16, 128
# Patches of an image that the correction for the standard deviation is computed from.
_FEW_PATCHES = 8


@dataclass(frozen=True)
class Influence:
    """A pair's distances along directions, given in parts, and every image's influence on their sum."""

    along: list[Tensor]
    """Per part `[p]` float64."""
    on_a: Tensor
    """`[parts, N]` float64, of the images of the first set."""
    on_b: Tensor
    """`[parts, K]` float64, of those of the second."""


@torch.no_grad()
def measure_influence(
    sets: Sequence[Tensor],
    pairs: Sequence[Pair],
    directions: Sequence[Tensor],
    *,
    clusters: Sequence[Tensor],
    patches: int,
    channels: int,
) -> list[Influence]:
    """Distances of pairs of sets along directions, and the images' influences on them.

    Args:
        sets: `[N * patches, C * 49]` float32, normalised, an image's patches adjacent; N may differ.
        pairs: Which of them are compared.
        directions: In parts `[C * 49, p]`.
        clusters: Of each set `[N]` int64, equal for images that are one draw.
        patches: Per image.
        channels: C.
    """
    sides = [_Side(rows, draws, patches, channels) for rows, draws in zip(sets, clusters, strict=True)]
    found = [_empty(sides[a], sides[b], directions) for a, b in pairs]
    for number, part in enumerate(directions):
        work = _Examination(sides, pairs, part, [influence.along[number] for influence in found])
        for influences in over_directions(work, sets, part):
            for influence, (on_a, on_b) in zip(found, influences, strict=True):
                influence.on_a[number] += on_a
                influence.on_b[number] -= on_b
    return found


def _empty(a: "_Side", b: "_Side", directions: Sequence[Tensor]) -> Influence:
    """To be filled in."""
    device = directions[0].device
    along = [torch.empty(part.shape[1], dtype=torch.float64, device=device) for part in directions]
    on = [torch.zeros(len(along), len(side), dtype=torch.float64, device=device) for side in (a, b)]
    return Influence(along, *on)


class _Examination:
    """Looks at the projections of some sets along some directions."""

    def __init__(
        self, sides: Sequence["_Side"], pairs: Sequence[Pair], directions: Tensor, along: Sequence[Tensor]
    ) -> None:
        """Args: `along` are the pairs' distances `[P]`, to be filled in."""
        self._sides, self._pairs, self._directions, self._along = sides, pairs, directions, along
        self._matchings = [match_quantiles(sides[a].rows, sides[b].rows) for a, b in pairs]

    def __call__(self, which: slice, projections: Sequence[Tensor]) -> list[list[Tensor]]:
        """Of each pair, the influences on both sides, summed over these directions."""
        count = len(projections[0])
        chunk = self._directions[:, which]
        # Tables first: small results between large temporary ones would leave holes in memory.
        tables = [[self._sides[side].empty_table(count) for side in pair] for pair in self._pairs]
        for rows in row_blocks(projections):
            blocks = [values[rows] for values in projections]
            ordered = [sort_rows(values.clone()) for values in blocks]
            functions = [
                side.distribution(values, in_order, chunk[:, rows])
                for side, values, in_order in zip(self._sides, blocks, ordered, strict=True)
            ]
            for number, (a, b) in enumerate(self._pairs):
                potential = _Potential(functions[a], functions[b])
                for side, table in zip((a, b), tables[number], strict=True):
                    self._sides[side].look_up(potential, blocks[side], table, rows)
                distances = sorted_distances(ordered[a], ordered[b], self._matchings[number])
                self._along[number][which][rows] = distances
        return [
            [self._sides[side].influence(table, chunk) for side, table in zip(pair, of_pair, strict=True)]
            for pair, of_pair in zip(self._pairs, tables, strict=True)
        ]


class _Bins:
    """Bins of equal width from some rows' least value to their greatest, `[p, 1]` each."""

    def __init__(self, low: Tensor, high: Tensor) -> None:
        self.width = ((high - low) / _BINS).clamp(min=torch.finfo(high.dtype).tiny)
        self.middles = low + self.width * (torch.arange(_BINS, device=high.device) + 0.5)
        self._low, self._scale = low, 1 / self.width

    def of(self, values: Tensor) -> Tensor:
        """Which bin each value `[p, M]` is in."""
        return (values - self._low).mul_(self._scale).clamp_(0, _BINS - 1).long()


class _Distribution:
    """The distribution functions of some sorted rows `[p, M]`."""

    def __init__(self, ordered: Tensor, excess: Tensor) -> None:
        """Args: `excess` `[p, G + 1]` is the sampling variance of the share of values below the quantiles
        0, 1/G, ..., 1, divided by that of independent values.
        """
        self.ordered, self._excess = ordered, excess

    def below(self, places: Tensor) -> Tensor:
        """Share of the values below some places `[p, B]`."""
        return torch.searchsorted(self.ordered, places) / self.ordered.shape[1]

    def variance(self, below: Tensor) -> Tensor:
        """Sampling variance of such shares; at least that of a single value, for tails seen in none."""
        place = below * _GROUPS
        group = place.long().clamp(max=_GROUPS - 1)
        first, second = self._excess.gather(1, group), self._excess.gather(1, group + 1)
        excess = torch.lerp(first, second, place - group)
        count = self.ordered.shape[1]
        return (below * (1 - below) * excess).clamp(min=1 / count) / count


class _Potential:
    """phi of some pairs of distribution functions, in bins."""

    def __init__(self, a: _Distribution, b: _Distribution) -> None:
        low = torch.minimum(a.ordered[:, :1], b.ordered[:, :1])
        self.bins = _Bins(low, torch.maximum(a.ordered[:, -1:], b.ordered[:, -1:]))
        below_a, below_b = a.below(self.bins.middles), b.below(self.bins.middles)
        variance = a.variance(below_a) + b.variance(below_b)
        self.slope = torch.erf((below_b - below_a) / variance.sqrt())
        self.value = self.bins.width * (
            self.slope.cumsum(dim=1) - self.slope / 2
        )  # in the middle of each bin


@dataclass(frozen=True)
class _Table:
    """What some directions say about one set."""

    phi: Tensor
    """`[p, N]`, each image's mean phi."""
    slopes: Tensor
    """`[p, N * few]`, phi's slope at a few patches of each image."""


class _Side:
    """What the influences in one set need of its descriptors."""

    def __init__(self, descriptors: Tensor, clusters: Tensor, patches: int, channels: int) -> None:
        """Args: as for `measure_influence`."""
        images = descriptors.view(-1, patches, channels, descriptors.shape[1] // channels)  # [N, P, C, 49]
        self._shape = images.shape
        self._few = images[:, :_FEW_PATCHES].reshape(-1, descriptors.shape[1])
        # An image's excess of mean and variance over its set's, in standard deviations of the set.
        self._mean = images.mean((1, 3)).double()  # [N, C]
        # The squares of a few images at a time stay in a processor's cache.
        squares = torch.cat([some.square().mean((1, 3)) for some in torch.split(images, 16)])
        self._variance = squares.double() - 1
        # Every so many-th cluster is enough to see how much shares vary.
        numbers = cluster(clusters).to(descriptors.device)
        step = -(-int(numbers.max() + 1) // _FEW_CLUSTERS)
        self._seen = (numbers % step == 0).nonzero().flatten()
        self._clusters = numbers[self._seen] // step
        number = int(self._clusters.max()) + 1
        self._freedom = number / max(1, number - 1)
        self._sizes = patches * torch.bincount(self._clusters).to(descriptors.dtype)
        self._cluster_means = patches * self._per_cluster(self._mean[self._seen]).to(descriptors.dtype)
        variances = self._variance[self._seen].mean(1, keepdim=True)
        self._cluster_variances = patches * self._per_cluster(variances).squeeze(1).to(descriptors.dtype)

    def _per_cluster(self, rows: Tensor) -> Tensor:
        """Sums of images' `[n, k]` over clusters."""
        return rows.new_zeros(len(self._sizes), rows.shape[1]).index_add_(0, self._clusters, rows)

    def __len__(self) -> int:
        return self._shape[0]

    @property
    def rows(self) -> int:
        """Number of descriptors."""
        return self._shape[0] * self._shape[1]

    def empty_table(self, directions: int) -> _Table:
        """To be filled in."""
        sizes = len(self), len(self._few)
        return _Table(*(torch.empty(directions, size, device=self._few.device) for size in sizes))

    def distribution(self, projections: Tensor, ordered: Tensor, directions: Tensor) -> _Distribution:
        """The set's distribution functions along `directions` `[C * 49, p]`, and how much they vary.

        Args: `projections` are `[p, M]`, `ordered` the same sorted.
        """
        count, (images, patches, channels, _) = len(projections), self._shape
        step = ordered.shape[1] / (2 * _GROUPS)
        places = (torch.arange(1, 2 * _GROUPS, device=ordered.device) * step).long()
        quantiles = ordered[:, places]  # every second one, and those around it for the density
        values = projections.view(count, images, patches)[:, self._seen].flatten(1)
        bins = _Bins(ordered[:, :1], ordered[:, -1:])
        group = torch.searchsorted(quantiles[:, 1::2].contiguous(), bins.middles).gather(1, bins.of(values))
        row = torch.arange(count, device=values.device)[:, None] * len(self._sizes)
        cells = (row + self._clusters.repeat_interleave(patches)).mul_(_GROUPS).add_(group)
        found = torch.bincount(cells.flatten(), minlength=count * len(self._sizes) * _GROUPS)
        below = found.view(count, -1, _GROUPS).cumsum(2)[:, :, :-1].to(ordered.dtype)  # [p, clusters, G - 1]
        share = below.sum(1, keepdim=True) / self._sizes.sum()
        # A cluster's mean and variance shift and stretch what is normalised by them.
        density = 1 / _GROUPS / (quantiles[:, 2::2] - quantiles[:, :-1:2]).clamp(min=1e-6)
        shift = (directions.T.reshape(count, channels, -1).sum(2) @ self._cluster_means.T)[:, :, None]
        stretch = quantiles[:, None, 1::2] * self._cluster_variances[:, None] / 2
        excess = below - self._sizes[:, None] * share + density[:, None] * (shift + stretch)
        squares = excess.square().sum(1) * self._freedom
        inner = squares / (self._sizes.sum() * share * (1 - share)).squeeze(1).clamp(min=1)
        return _Distribution(ordered, torch.cat([inner[:, :1], inner, inner[:, -1:]], dim=1))

    def look_up(self, potential: _Potential, projections: Tensor, table: _Table, rows: slice) -> None:
        """Fill in some rows of a table from the set's projections `[p, M]`."""
        images, patches = self._shape[:2]
        bins = potential.bins.of(projections)
        table.phi[rows] = potential.value.gather(1, bins).view(-1, images, patches).mean(2)
        few = bins.view(-1, images, patches)[:, :, :_FEW_PATCHES].flatten(1)
        table.slopes[rows] = potential.slope.gather(1, few)

    def influence(self, table: _Table, directions: Tensor) -> Tensor:
        """`[N]` float64, summed over `directions` `[C * 49, p]`."""
        channels, pixels = self._shape[2:]
        along = directions.T.reshape(-1, channels, pixels)
        # What the distances do when a channel's mean, or its standard deviation, changes.
        shift = (table.slopes.mean(1)[:, None] * along.sum(2)).sum(0)
        stretch = ((table.slopes @ self._few).view_as(along) * along).sum((0, 2)) / len(self._few)
        normalization = self._mean @ shift.double() + self._variance @ stretch.double() / 2
        return table.phi.sum(0, dtype=torch.float64) - normalization
