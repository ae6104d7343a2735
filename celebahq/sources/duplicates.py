"""Photos and faces that are there twice: the same picture saved again; cut, mirrored, framed or turned."""

import logging
import time
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from celebahq.align.landmarks import UprightPatch
from celebahq.sources.near_hashes import NearHashes

log = logging.getLogger(__name__)

HASH_SIDE = 16
DIGITS = HASH_SIDE**2 // 4  # of one hash
TELL_SEC = 10.0
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

    Repeats are not compared with: every named earlier picture is one that stays. The logger is told how far
    a long search is. Memory is some 300 bytes a picture.

    Args:
        hashes: Of 64 digits, or of 128: then the second half may be near the earlier one's first half too.
        radius: In bits.
    """
    if not hashes:
        return []
    places: dict[str, int] = {}  # digest -> its place among the distinct ones
    numbers: list[int] = []  # of the first picture that has each
    for number, digest in enumerate(hashes):
        if digest not in places:
            places[digest] = len(numbers)
            numbers.append(number)
    twins = _twins_of_distinct(list(places), radius)
    found = [
        numbers[place if (twin := twins[place]) is None else twin]
        for place in map(places.__getitem__, hashes)
    ]
    return [None if twin == number else twin for number, twin in enumerate(found)]


def _twins_of_distinct(hashes: Sequence[str], radius: int) -> list[int | None]:
    looks = [
        _packed([digest[start : start + DIGITS] for digest in hashes])
        for start in range(0, len(hashes[0]), DIGITS)
    ]
    near = NearHashes(looks[0], radius)
    twins: list[int | None] = [None] * len(hashes)
    stays = np.ones(len(hashes), bool)
    told = time.monotonic()
    for start in range(0, len(hashes), near.rows_at_once):
        rows = slice(start, start + near.rows_at_once)
        pairs = np.concatenate([near.find(look[rows], start, stays) for look in looks])
        for row, other in np.unique(pairs, axis=0).tolist():  # earlier rows first, and their earlier ones
            if stays[row] and stays[other]:
                twins[row], stays[row] = other, False
        if time.monotonic() - told > TELL_SEC:
            told = time.monotonic()
            log.info(
                "find repeats: %s of %s pictures", f"{min(rows.stop, len(hashes)):,}", f"{len(hashes):,}"
            )
    return twins


def _packed(hashes: Sequence[str]) -> NDArray[np.uint8]:
    """Hashes of 64 digits: `[n, 32]`."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), -1)
