"""Every random choice of the metric as a pure function of a key of integers.

A choice is an integer hash of its key (seed, image index, ...), so it depends on no generator's state, and
batch size, order, device and number of processes cannot change it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# The first word of a key: which kind of choice it makes.
_PATCHES, _IMAGES, _DIRECTIONS, _PAIRS = range(4)

REALS, FAKES = 0, 1
"""The `set_id` of the two sides."""

_MASK64 = (1 << 64) - 1


def _signed(word: int) -> int:
    """The int64 with the low 64 bits of `word`."""
    word &= _MASK64
    return word - (1 << 64) if word >> 63 else word


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MULTIPLIERS = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))


def _shift_right(word: Tensor, bits: int) -> Tensor:
    """Logical shift; torch's own keeps the sign."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)


def keyed_hash(*key: int | Tensor, device: torch.device | None = None) -> Tensor:
    """64 well-mixed bits for each key, the same on every device.

    Args:
        key: Words; integers of any size (their low 64 bits count) or int64 tensors that broadcast.
        device: Where to compute; the tensors among the words are there already.

    Returns:
        int64 of the broadcast shape.

    Source: the finaliser of SplitMix64 (Steele, Lea & Flood 2014), applied after each word.
    """
    state = torch.zeros((), dtype=torch.int64, device=device)
    for word in key:
        state = (state ^ (_signed(word) if isinstance(word, int) else word)) + _GAMMA
        state = (state ^ _shift_right(state, 30)) * _MULTIPLIERS[0]
        state = (state ^ _shift_right(state, 27)) * _MULTIPLIERS[1]
        state = state ^ _shift_right(state, 31)
    return state


def _scale_to(bits32: Tensor, count: int) -> Tensor:
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
    device = indices.device
    levels = torch.arange(len(sizes), device=device)[:, None, None]
    numbers = torch.arange(patches, device=device)
    images = indices.to(torch.int64)[:, None]
    bits = keyed_hash(_PATCHES, seed, set_id, draw, images, levels, numbers, device=device)  # [L, N, P]
    high, low = _shift_right(bits, 32), bits & 0xFFFFFFFF
    centers = []
    for level, (height, width) in enumerate(sizes):
        y, x = _scale_to(high[level], height - size + 1), _scale_to(low[level], width - size + 1)
        centers.append(torch.stack([y, x], dim=-1) + size // 2)
    return centers


def image_order(count: int, *, seed: int = 0, set_id: int = REALS) -> Tensor:
    """A random order of a set's image indices, `[count]` int64; its first K are a random subset."""
    return torch.argsort(keyed_hash(_IMAGES, seed, set_id, torch.arange(count)), stable=True)


def random_directions(dimension: int, *, repeats: int = 4, count: int = 128, seed: int = 0) -> Tensor:
    """Uniform unit vectors: normal deviates, normalised in float64.

    Returns:
        `[dimension, repeats * count]` float32 on the CPU, the repeats one after the other.
    """
    repeat = torch.arange(repeats)[:, None]
    bits = keyed_hash(_DIRECTIONS, seed, torch.arange(dimension)[:, None, None], repeat, torch.arange(count))
    uniform = (_shift_right(bits, 11).double() + 0.5) * 2.0**-53
    normal: Tensor = torch.special.ndtri(uniform).reshape(dimension, repeats * count)
    unit: Tensor = normal / torch.linalg.vector_norm(normal, dim=0)
    return unit.float()


def image_pairs(count: int, pairs: int, *, seed: int = 0, set_id: int = FAKES) -> Tensor:
    """Random pairs of different images, `[pairs, 2]` int64; each pair once if there are no more."""
    if count * (count - 1) // 2 <= pairs:
        return torch.combinations(torch.arange(count), 2)
    bits = keyed_hash(_PAIRS, seed, set_id, torch.arange(pairs))
    first = _scale_to(_shift_right(bits, 32), count)
    second = _scale_to(bits & 0xFFFFFFFF, count - 1)
    return torch.stack([first, second + (second >= first)], dim=-1)
