"""The levels of a pyramid: their names, sizes and chunks, and the pixels computed from the largest."""

import cv2
import numpy as np
from numpy.typing import NDArray

from celebahq.formats.codecs import DEFAULT_CODEC, compress, decompress

FORMAT_NAME = "celebahq-pyramid"
FORMAT_VERSION = 2
"""1 had no checksums of labels, facts and structure."""

SINGLE_IMAGE_RESOLUTION = 32
"""Chunks hold one image from this resolution up, and 4096 / r^2 images below."""


def level_name(resolution: int) -> str:
    """Name of a level's data set."""
    return f"data{resolution}x{resolution}"


def level_resolutions(resolution: int) -> list[int]:
    """All resolutions of a pyramid, largest first.

    Raises:
        ValueError: Not a power of two.
    """
    if resolution < 1 or resolution & (resolution - 1):
        raise ValueError(f"resolution: expected a power of two, got {resolution}")
    return [1 << i for i in range(resolution.bit_length() - 1, -1, -1)]


def chunk_shape(resolution: int, channels: int) -> tuple[int, int, int, int]:
    """Shape of a level's chunks."""
    images = 1 if resolution >= SINGLE_IMAGE_RESOLUTION else 4096 // resolution**2
    return images, channels, resolution, resolution


def mip_levels(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Box-filtered copies of square images at every power of two down to 1x1.

    Each level is the 2x2 mean of the float32 level above *before* rounding; only the results are rounded
    (half to even).

    Args:
        images: `[N, C, r, r]` uint8, r a power of two.

    Returns:
        `[N, C, r, r]`, `[N, C, r/2, r/2]`, ... `[N, C, 1, 1]`, uint8; the first is `images` itself.

    >>> import celebahq, numpy
    >>> faces = numpy.zeros((2, 3, 4, 4), numpy.uint8)
    >>> [level.shape for level in celebahq.mip_levels(faces)]
    [(2, 3, 4, 4), (2, 3, 2, 2), (2, 3, 1, 1)]
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images: expected [N, C, r, r] uint8, got {images.shape} {images.dtype}")
    resolutions = level_resolutions(images.shape[2])
    levels = [images, *(np.empty((*images.shape[:2], r, r), np.uint8) for r in resolutions[1:])]
    for n, c in np.ndindex(*images.shape[:2]):
        plane = images[n, c].astype(np.float32)
        for r, level in zip(resolutions[1:], levels[1:], strict=True):
            # For a factor of exactly two, INTER_AREA is the 2x2 mean.
            plane = cv2.resize(plane, (r, r), interpolation=cv2.INTER_AREA)
            level[n, c] = np.clip(np.rint(plane), 0, 255)
    return levels


def decode_level(blob: bytes, channels: int, resolution: int, codec: str) -> NDArray[np.uint8]:
    """One level of what `encode_image` gives, `[C, r, r]` uint8.

    Raises:
        ValueError: The blob is damaged.
    """
    shape = (1, channels, resolution, resolution)
    if resolution < SINGLE_IMAGE_RESOLUTION:
        codec = "none"
    image: NDArray[np.uint8] = decompress(blob, shape, codec)[0]
    return image


def encode_image(image: NDArray[np.uint8], codec: str = DEFAULT_CODEC) -> list[bytes]:
    """Turn one image into what `PyramidWriter.append_encoded` stores; the costly part, for workers.

    Args:
        image: `[C, r, r]` uint8, r a power of two.
        codec: One of `celebahq.formats.codecs.CODECS`.

    Returns:
        Per level, largest first: the compressed HDF5 chunk from 32 px up, the raw pixels below.
    """
    levels = mip_levels(image[None])
    return [
        compress(level, codec) if level.shape[2] >= SINGLE_IMAGE_RESOLUTION else level.tobytes()
        for level in levels
    ]
