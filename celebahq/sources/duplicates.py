"""Photos that are there twice: the same file, or the same picture saved again."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

HASH_SIDE = 16
NEAR_BITS = 24
"""Hashes that differ in at most so many of 256 bits are of one picture.

Of 180 different portraits the closest pair differed in 68; recompression down to quality 10, resizing to a
third, and changes of brightness in at most 18. Cropping by 2 % moves about 36: crops count as different.
"""


def perceptual_hash(photo: NDArray[np.uint8]) -> str:
    """256 bits that survive recompression and resizing: which low frequencies exceed their median.

    Args:
        photo: `(H, W, 3)` uint8 RGB.

    Returns:
        64 hexadecimal digits.
    """
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (4 * HASH_SIDE, 4 * HASH_SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:HASH_SIDE, :HASH_SIDE].ravel()
    low[0] = 0.0  # the mean brightness
    return np.packbits(low > np.median(low[1:])).tobytes().hex()


def earlier_twin(hashes: Sequence[str], radius: int = NEAR_BITS) -> list[int | None]:
    """For each picture the earlier one that it repeats, or None.

    Repeats are not compared with: every named earlier picture is one that stays. The time grows with the
    square of the number; 200,000 pictures take about a minute.
    """
    words = np.array([np.frombuffer(bytes.fromhex(h), np.uint64) for h in hashes]).reshape(-1, 4)
    kept_words = np.empty_like(words)
    kept: list[int] = []
    twins: list[int | None] = []
    for position, own in enumerate(words):
        # Most pairs differ too much in their first quarter already.
        first = np.bitwise_count(kept_words[: len(kept), 0] ^ own[0])
        candidates = np.flatnonzero(first <= radius)
        distance = np.bitwise_count(kept_words[candidates] ^ own).sum(axis=1, dtype=np.int64)
        near = candidates[distance <= radius]
        if near.size:
            twins.append(kept[near[0]])
            continue
        twins.append(None)
        kept_words[len(kept)] = own
        kept.append(position)
    return twins
