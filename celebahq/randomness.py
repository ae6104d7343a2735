"""Counter-based random numbers: pure functions of a key of integers, without a state.

What is drawn for a key depends on nothing else: not on batch size, order, device or number of processes.
"""

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def splitmix64(state: Bits) -> Bits:
    """The number that SplitMix64 gives in a state, for each of an array (not a scalar, whose overflow warns).

    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
    """
    state = state + _GAMMA
    state = (state ^ (state >> np.uint64(30))) * _MULTIPLIERS[0]
    state = (state ^ (state >> np.uint64(27))) * _MULTIPLIERS[1]
    mixed: Bits = state ^ (state >> np.uint64(31))
    return mixed


def keyed_hash(*key: int | NDArray[np.integer]) -> Bits:
    """64 well-mixed bits for each key.

    Args:
        key: Words; integers of any size (their low 64 bits count) or integer arrays that broadcast.

    Returns:
        uint64 of the broadcast shape, at least `[1]`.

    Source: `splitmix64`, applied after each word.

    >>> keyed_hash(0, 7, np.arange(2)).tolist()
    [5651114593729759386, 2679722764980509252]
    """
    state = np.zeros(1, np.uint64)
    for word in key:
        bits = np.uint64(word % 2**64) if isinstance(word, int) else word.astype(np.uint64)
        state = splitmix64(state ^ bits)
    return state


def to_uniform(bits: Bits) -> NDArray[np.float64]:
    """Random bits as uniform numbers in (0, 1), of which neither end can occur."""
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.minimum(uniform, 1 - 2.0**-53)  # the last of them would be rounded to 1
