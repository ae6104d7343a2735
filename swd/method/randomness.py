"""Every random choice of the metric as a pure function of a key of integers.

A choice is an integer hash of its key (seed, image index, ...), so it depends on no generator's state, and
batch size, order, device and number of processes cannot change it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celebahq.randomness import Bits, keyed_hash, to_uniform

# The first word of a key: which kind of choice it makes.
_PATCHES, _IMAGES, _DIRECTIONS, _PAIRS, PIXELS = range(5)

REALS, FAKES = 0, 1
"""The `set_id` of the two sides."""


def _halves(bits: Bits) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each number's high and low 32 bits."""
    return (bits >> np.uint64(32)).astype(np.int64), (bits & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _scale_to(bits32: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """32 random bits -> 0..count-1; a value's probability is off by less than 2^-32."""
    return (bits32 * count) >> 32


def patch_centers(
    indices: Tensor,
    sizes: Sequence[tuple[int, int]],
    *,
    patches: int = 128,
    size: int = 7,
    seed: int = 0,
    set_id: int = REALS,
    draw: int = 0,
) -> list[Tensor]:
    """Random middles of the patches to cut from the levels of some images, uniform over where a patch fits.

    Args:
        indices: `[N]` integer, each image's index in its set.
        sizes: (height, width) of each level in pixels, from the full resolution on.
        patches: Per image and level, P.
        size: Side of a patch, odd.
        seed: Key of all randomness.
        set_id: `REALS` or `FAKES`.
        draw: Another number gives fresh patches of the same images.

    Returns:
        Per level `[N, P, 2]` int64 (y, x) on the device of `indices`.
    """
    images = indices.cpu().numpy()[:, None]
    levels, numbers = np.arange(len(sizes))[:, None, None], np.arange(patches)
    high, low = _halves(keyed_hash(_PATCHES, seed, set_id, draw, images, levels, numbers))  # [L, N, P]
    centers = []
    for level, (height, width) in enumerate(sizes):
        y, x = _scale_to(high[level], height - size + 1), _scale_to(low[level], width - size + 1)
        centers.append(torch.from_numpy(np.stack([y, x], axis=-1) + size // 2).to(indices.device))
    return centers


def image_order(count: int, *, seed: int = 0, set_id: int = REALS) -> Tensor:
    """A random order of a set's image indices, `[count]` int64; its first K are a random subset."""
    # As signed numbers, as ever: another order would be another choice of images.
    bits = keyed_hash(_IMAGES, seed, set_id, np.arange(count)).astype(np.int64)
    return torch.from_numpy(np.argsort(bits, kind="stable"))


def random_directions(dimension: int, *, repeats: int = 4, count: int = 128, seed: int = 0) -> Tensor:
    """Uniform unit vectors: normal deviates, normalised in float64.

    Returns:
        `[dimension, repeats * count]` float32 on the CPU, the repeats one after the other.
    """
    coordinates, repeat = np.arange(dimension)[:, None, None], np.arange(repeats)[:, None]
    bits = keyed_hash(_DIRECTIONS, seed, coordinates, repeat, np.arange(count))
    uniform = torch.from_numpy(to_uniform(bits).reshape(dimension, repeats * count))
    normal: Tensor = torch.special.ndtri(uniform)
    unit: Tensor = normal / torch.linalg.vector_norm(normal, dim=0)
    return unit.float()


def image_pairs(count: int, pairs: int, *, seed: int = 0, set_id: int = FAKES) -> Tensor:
    """Random pairs of different images, `[pairs, 2]` int64; each pair once if there are no more."""
    if count * (count - 1) // 2 <= pairs:
        return torch.combinations(torch.arange(count), 2)
    high, low = _halves(keyed_hash(_PAIRS, seed, set_id, np.arange(pairs)))
    first, second = _scale_to(high, count), _scale_to(low, count - 1)
    return torch.from_numpy(np.stack([first, second + (second >= first)], axis=-1))
