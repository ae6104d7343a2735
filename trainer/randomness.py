"""Counter-based randomness: every number is a hash of (seed, stream, index, column).

Nothing here has a state, so what is drawn for one training position depends on neither the number of
processes, nor the minibatch that it is part of, nor whether the run was interrupted before.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from celebahq.randomness import Bits, keyed_hash, splitmix64, to_uniform

Indices = NDArray[np.int64]


class Stream(IntEnum):
    """What the numbers are for; equal indices of two streams are unrelated. Another number, other images."""

    DATA_ORDER = 1
    MIRROR = 2
    D_LATENTS = 3
    D_LABELS = 4
    G_LATENTS = 5
    G_LABELS = 6
    MIX_FACTORS = 7
    GENERATE = 8
    GENERATE_LABELS = 9
    NOISE_REALS = 11
    VIDEO = 14
    NOISE_FAKES = 15
    NOISE_MIXED = 16
    NOISE_G = 17
    AUGMENT_REALS = 18
    AUGMENT_FAKES = 19
    AUGMENT_G = 20


def keyed_bits(seed: int, stream: Stream, indices: Indices, columns: int = 1) -> Bits:
    """Hash (seed, stream, index, column) to 64 bits.

    Args:
        seed: Any non-negative integer.
        stream: What the bits are for.
        indices: `[N]` non-negative positions.
        columns: How many values each index gets.

    Returns:
        `[N, columns]` uint64.

    Source: `celebahq.randomness`; the columns' numbers are hashed once more, by themselves.
    """
    return keyed_hash(seed, int(stream), indices[:, None], splitmix64(np.arange(columns, dtype=np.uint64)))


def keyed_uniform(seed: int, stream: Stream, indices: Indices, columns: int = 1) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1), `[N, columns]` float64; see `keyed_bits`."""
    return to_uniform(keyed_bits(seed, stream, indices, columns))


def keyed_normal(seed: int, stream: Stream, indices: Indices, columns: int) -> NDArray[np.float32]:
    """Standard normal numbers, `[N, columns]` float32, by Box and Muller; see `keyed_bits`."""
    pairs = (columns + 1) // 2
    uniform = keyed_uniform(seed, stream, indices, 2 * pairs)
    radius = np.sqrt(-2.0 * np.log(uniform[:, :pairs]))
    angle = 2.0 * np.pi * uniform[:, pairs:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return normal[:, :columns].astype(np.float32)


def keyed_choice(seed: int, stream: Stream, indices: Indices, count: int) -> Indices:
    """One of 0 .. count-1 for each index, `[N]` int64, each equally likely (to 2^-53)."""
    return (keyed_uniform(seed, stream, indices)[:, 0] * count).astype(np.int64)


def keyed_permutation(seed: int, stream: Stream, epoch: int, count: int) -> Indices:
    """The order of `count` items in one epoch, `[count]` int64."""
    epoch_seed = int(keyed_bits(seed, stream, np.array([epoch]))[0, 0])
    return np.argsort(keyed_bits(epoch_seed, stream, np.arange(count))[:, 0], kind="stable")
