"""Photos and faces that are there twice: the same picture saved again; cut, mirrored, framed or turned."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from celebahq.align.landmarks import UprightPatch

HASH_SIDE = 16
DIGITS = HASH_SIDE**2 // 4  # of one hash
BLOCK = 1024  # pictures compared with all earlier ones at a time
NEAR_BITS = 24
"""Hashes that differ in at most so many of 256 bits are of one picture.

Of 180 different portraits the closest pair differed in 68; recompression down to quality 10, resizing to a
third, and changes of brightness in at most 18. Cropping by 2 % moves about 36: crops count as different.
"""


FACE_BITS = 40
"""The same for `face_hash`, where landmarks move a little too.

Of 217 faces the closest pair differed in 74 (either may be mirrored); copies that were cut by 5 %, mirrored,
framed, turned, lighter or saved again at quality 30 in 15 as a rule, in 28 at the 90th percentile.
"""
FACE_ROWS, FACE_COLUMNS = slice(20, 240), slice(20, 236)
"""Of an aligned image of 256 pixels: without the edges, where a photo may have ended."""


def perceptual_hash(photo: NDArray[np.uint8]) -> str:
    """256 bits that survive recompression and resizing: which low frequencies exceed their median.

    Args:
        photo: `(H, W, 3)` uint8 RGB.

    Returns:
        64 hexadecimal digits.
    """
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    return _low_frequencies(cv2.resize(grey, (4 * HASH_SIDE, 4 * HASH_SIDE), interpolation=cv2.INTER_AREA))


def face_hash(photo: NDArray[np.uint8], quad: NDArray[np.float64]) -> str:
    """The same of an aligned face and of its mirror image, so that crops, frames and turns do not matter.

    Args:
        photo: `(H, W, 3)` uint8 RGB.
        quad: `(4, 2)` corners of the crop.

    Returns:
        128 hexadecimal digits: 64 of the face, 64 of its mirror image.
    """
    grey = cv2.cvtColor(UprightPatch(photo, quad, 256.0, margin=0.0).picture, cv2.COLOR_RGB2GRAY)
    size = (4 * HASH_SIDE, 4 * HASH_SIDE)
    face = cv2.resize(grey[FACE_ROWS, FACE_COLUMNS], size, interpolation=cv2.INTER_AREA)
    return _low_frequencies(face) + _low_frequencies(np.ascontiguousarray(face[:, ::-1]))


def _low_frequencies(small: NDArray[np.uint8]) -> str:
    low = cv2.dct(small.astype(np.float32))[:HASH_SIDE, :HASH_SIDE].ravel()
    low[0] = 0.0  # the mean brightness
    return np.packbits(low > np.median(low[1:])).tobytes().hex()


def earlier_twin(hashes: Sequence[str], radius: int = NEAR_BITS) -> list[int | None]:
    """For each picture the earlier one that it repeats, or None.

    Repeats are not compared with: every named earlier picture is one that stays. The time grows with the
    square of the number; 200,000 pictures take minutes.

    Args:
        hashes: Of 64 digits, or of 128: then the second half may be near the earlier one's first half too.
        radius: In bits.
    """
    looks = [_signs([digest[start : start + DIGITS] for digest in hashes]) for start in _starts(hashes)]
    twins: list[int | None] = []
    for start in range(0, len(hashes), BLOCK):
        block = slice(start, start + BLOCK)
        # The product of two rows of signs is 256, less twice the bits in which they differ.
        near = [look[block] @ looks[0][: block.stop].T >= HASH_SIDE**2 - 2 * radius for look in looks]
        for row, found in enumerate(np.logical_or.reduce(near)):
            earlier = np.flatnonzero(found[: start + row])
            twins.append(next((int(other) for other in earlier if twins[other] is None), None))
    return twins


def _starts(hashes: Sequence[str]) -> range:
    """Where the hash of each look at a picture begins."""
    return range(0, len(hashes[0]) if hashes else 0, DIGITS)


def _signs(hashes: Sequence[str]) -> NDArray[np.float32]:
    """Hashes of 64 digits as rows of 256 numbers, 1 and -1: sums of their products are exact in float32."""
    data = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), -1)
    return np.unpackbits(data, axis=1).astype(np.float32) * 2 - 1
