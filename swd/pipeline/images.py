"""One image: decoded as the metric wants it, and brought to the resolution of the comparison."""

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from celebahq.pictures.decoding import decode_picture, picture_shape


def read_header(file: BinaryIO, name: str) -> tuple[int, int, int]:
    """(channels, height, width) of an image file, without decoding it.

    Raises:
        ToolError: As for `decode`, as far as the header tells.
    """
    return picture_shape(file, name, deep="refuse")


def decode(file: BinaryIO, name: str) -> NDArray[np.uint8]:
    """Decode an image file as `celebahq.pictures` does, but without any loss that the figures would show.

    Args:
        file: Of any format that `celebahq` reads.
        name: For messages.

    Returns:
        `[C, H, W]` uint8, C = 1 for grey files, else 3.

    Raises:
        ToolError: Damaged, no image of these formats, more than 8 bits per channel, transparent, or above
            134 million pixels.
    """
    return decode_picture(file, name, alpha="refuse", deep="refuse").transpose(2, 0, 1)


def fit(image: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """Reduce a square image: by a box filter where the factor is a power of two, else by Lanczos.

    The box mean of the original pixels is rounded once, half to even, as in a pyramid file.

    Args:
        image: `[C, s, s]` uint8, s >= `resolution`.
        resolution: Side of the result in pixels.

    Returns:
        `[C, resolution, resolution]` uint8.
    """
    channels, size = image.shape[:2]
    if size == resolution:
        return image
    if is_box_factor(size, resolution):
        factor = size // resolution
        blocks = image.reshape(channels, resolution, factor, resolution, factor)
        means: NDArray[np.float64] = blocks.mean(axis=(2, 4), dtype=np.float64)
        return np.rint(means).astype(np.uint8)
    planes = [
        Image.fromarray(plane).resize((resolution, resolution), Image.Resampling.LANCZOS) for plane in image
    ]
    return np.stack([np.asarray(plane) for plane in planes])


def is_box_factor(size: int, resolution: int) -> bool:
    """Whether `size` is `resolution` times a power of two."""
    factor, rest = divmod(size, resolution)
    return rest == 0 and factor & (factor - 1) == 0
