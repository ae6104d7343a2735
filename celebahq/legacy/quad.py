"""Pillow 3.1.1's QUAD transform with bilinear filtering."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def transform_quad(image: NDArray[np.uint8], quad: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """Map the quadrilateral to a square, `[H, W, 3]` uint8 to `[side, side, 3]`; black outside the image.

    Pillow 3.1.1 sampled its bilinear map at integer output positions, today's Pillow half a pixel further
    down and right. The map's coefficients are binary fractions short enough for doubles to hold all of it
    exactly, so shifting the corners by half a pixel back gives the same bytes.

    Args:
        image: The picture to sample.
        quad: `[4, 2]` float32 corners: upper left, lower left, lower right, upper right.
        side: Of the square, a power of two.
    """
    upper_left, lower_left, lower_right, upper_right = quad
    # Differences in float32, as the corners were handed over; everything after that in double.
    origin = upper_left.astype(np.float64)
    along_x = (upper_right - upper_left).astype(np.float64) / side
    along_y = (lower_left - upper_left).astype(np.float64) / side
    twist = (lower_right - lower_left - upper_right + upper_left).astype(np.float64) / side**2

    first, last = -0.5, side - 0.5
    corners = [
        origin + along_x * x + along_y * y + twist * (x * y)
        for x, y in ((first, first), (first, last), (last, last), (last, first))
    ]
    mapped = Image.fromarray(image).transform(
        (side, side), Image.Transform.QUAD, np.concatenate(corners).tolist(), Image.Resampling.BILINEAR
    )
    return np.asarray(mapped)
