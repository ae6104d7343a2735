"""How much each image contributes to a distance: the basis of its standard error.

Let phi be the function whose slope is the sign of F_b - F_a, the difference of the two distribution
functions. The 1-D distance is E[phi(a)] - E[phi(b)], and phi(x) is the influence of a value x: the derivative
of the distance with respect to its weight. An image's influence is the mean over its patches and over
directions, corrected for the image's part in the mean and standard deviation that normalised its set. The
spread of the influences gives the distance's standard error, without computing it anew for resampled sets of
images (the infinitesimal jackknife; Efron & Tibshirani 1993, chapter 21).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from .threads import in_threads
from .wasserstein import Matching, in_blocks, match_quantiles, project, sort_rows, sorted_distances

# phi is tabulated, with bins far narrower than the distances of interest.
_BINS = 512
# Patches of an image that the correction for the standard deviation is computed from.
_FEW_PATCHES = 8


@dataclass(frozen=True)
class Influence:
    """Distances along directions, given in parts, and every image's influence on their sum over a part."""

    along: list[Tensor]
    """Per part `[p]` float64."""
    on_a: Tensor
    """`[parts, N]` float64, of the images of the first set."""
    on_b: Tensor
    """`[parts, K]` float64, of those of the second."""


@torch.no_grad()
def measure_influence(
    a: Tensor, b: Tensor, directions: Sequence[Tensor], *, patches: int, channels: int
) -> Influence:
    """Distances along directions, and the images' influences on them.

    Args:
        a: `[N * patches, C * 49]` float32, normalised, an image's patches adjacent.
        b: `[K * patches, C * 49]`.
        directions: In parts `[C * 49, p]`.
        patches: Per image.
        channels: C.
    """
    matching = match_quantiles(len(a), len(b))
    sides = _Side(a, patches, channels), _Side(b, patches, channels)
    along: list[Tensor] = []
    influences = [
        torch.zeros(len(directions), len(side), dtype=torch.float64, device=a.device) for side in sides
    ]
    for number, part in enumerate(directions):
        distances = []
        for chunk, x, y in project(a, b, part):
            blocks = in_blocks(x, y)
            found = list(in_threads(partial(_examine, sides, matching), blocks, torch.get_num_threads()))
            distances += [of_block for of_block, *_ in found]
            for index, side in enumerate(sides):
                influences[index][number] += side.influence([counts[index] for _, *counts in found], chunk)
        along.append(torch.cat(distances))
    return Influence(along, influences[0], -influences[1])


def _examine(
    sides: tuple["_Side", "_Side"], matching: Matching | None, rows: tuple[Tensor, Tensor]
) -> tuple[Tensor, "_Counts", "_Counts"]:
    """Distances between some rows of projections, and what these say about each set."""
    x, y = rows
    x_sorted, y_sorted = sort_rows(x.clone()), sort_rows(y.clone())
    potential = _Potential(x_sorted, y_sorted)
    counts = [side.count(potential, values) for side, values in zip(sides, rows, strict=True)]
    return sorted_distances(x_sorted, y_sorted, matching), counts[0], counts[1]


class _Potential:
    """phi of some pairs of sorted rows `[p, M]`, `[p, K]`, in bins."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.low = torch.minimum(a[:, :1], b[:, :1])
        high = torch.maximum(a[:, -1:], b[:, -1:])
        self.width = ((high - self.low) / _BINS).clamp(min=torch.finfo(a.dtype).tiny)
        middles = self.low + self.width * (torch.arange(_BINS, device=a.device) + 0.5)
        below_a = torch.searchsorted(a, middles) / a.shape[1]
        below_b = torch.searchsorted(b, middles) / b.shape[1]
        self.slope = torch.sign(below_b - below_a)
        self.value = self.width * (self.slope.cumsum(dim=1) - self.slope / 2)  # in the middle of each bin

    def bins(self, values: Tensor) -> Tensor:
        """Which bin each value `[p, M]` is in."""
        return ((values - self.low) / self.width).clamp_(0, _BINS - 1).long()


@dataclass(frozen=True)
class _Counts:
    """What some directions say about one set."""

    phi: Tensor
    """`[N]` float64, each image's mean phi, summed over the directions."""
    slopes: Tensor
    """`[p, N * few]`, phi's slope at a few patches of each image."""


class _Side:
    """What the influences in one set need of its descriptors."""

    def __init__(self, descriptors: Tensor, patches: int, channels: int) -> None:
        """Args: as for `measure_influence`."""
        images = descriptors.view(-1, patches, channels, descriptors.shape[1] // channels)  # [N, P, C, 49]
        self._shape = images.shape
        self._few = images[:, :_FEW_PATCHES].reshape(-1, descriptors.shape[1])
        # An image's excess of mean and variance over its set's, in standard deviations of the set.
        self._mean = images.mean((1, 3)).double()  # [N, C]
        # The squares of a few images at a time stay in a processor's cache.
        squares = torch.cat([some.square().mean((1, 3)) for some in torch.split(images, 16)])
        self._variance = squares.double() - 1

    def __len__(self) -> int:
        return self._shape[0]

    def count(self, potential: _Potential, projections: Tensor) -> _Counts:
        """Look up the set's projections `[p, M]`."""
        images, patches = self._shape[:2]
        bins = potential.bins(projections)
        phi = potential.value.gather(1, bins).view(-1, images, patches)
        few = bins.view(-1, images, patches)[:, :, :_FEW_PATCHES].flatten(1)
        return _Counts(phi.mean(2).double().sum(0), potential.slope.gather(1, few))

    def influence(self, counts: Sequence[_Counts], directions: Tensor) -> Tensor:
        """`[N]` float64, summed over `directions` `[C * 49, P]`, which `counts` tell of some at a time."""
        channels, pixels = self._shape[2:]
        slopes = torch.cat([part.slopes for part in counts])  # [P, N * few]
        along = directions.T.reshape(-1, channels, pixels)
        # What the distances do when a channel's mean, or its standard deviation, changes.
        shift = (slopes.mean(1)[:, None] * along.sum(2)).sum(0)
        stretch = ((slopes @ self._few).view_as(along) * along).sum((0, 2)) / slopes.shape[1]
        normalization = self._mean @ shift.double() + self._variance @ stretch.double() / 2
        return torch.stack([part.phi for part in counts]).sum(0) - normalization
