"""An image brought to the resolution of the comparison."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


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
