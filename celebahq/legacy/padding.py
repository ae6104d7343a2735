"""Continue a photo beyond its edges: reflection, then blur, then the median."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from celebahq.legacy.gaussian import gaussian

f32 = np.float32


class Pads(NamedTuple):
    """Pixels to add at each edge."""

    left: int
    top: int
    right: int
    bottom: int


def pad_photo(image: NDArray[np.uint8], pads: Pads, sigma: float) -> NDArray[np.uint8]:
    """Pad by reflection and blend outwards into a blur and then the median, all in float32.

    Args:
        image: `[H, W, 3]` uint8.
        pads: Each at least 1.
        sigma: Of the Gaussian, in pixels.

    Returns:
        `[top + H + bottom, left + W + right, 3]` uint8.
    """
    padded = reflect(image, pads)
    mask = blend_mask(padded.shape[1], padded.shape[0], pads)
    towards_blur, towards_median = np.clip(mask * f32(3) + f32(1), 0, 1), np.clip(mask, 0, 1)
    for channel in range(padded.shape[2]):
        plane = padded[:, :, channel].astype(f32)
        blend(plane, gaussian(plane, sigma), towards_blur)
        blend(plane, median(plane), towards_median)
        padded[:, :, channel] = np.clip(np.round(plane), 0, 255)
    return padded


def reflect(image: NDArray[np.uint8], pads: Pads) -> NDArray[np.uint8]:
    """Mirror at the edge pixels, which are not repeated, as often as the pads need."""
    left, top, right, bottom = pads
    rows = _mirrored(image.shape[0], top, bottom)
    columns = _mirrored(image.shape[1], left, right)
    return image[rows][:, columns]


def _mirrored(size: int, before: int, after: int) -> NDArray[np.intp]:
    if size == 1:
        return np.zeros(before + size + after, np.intp)
    period = 2 * (size - 1)
    phase = np.arange(-before, size + after) % period
    return np.minimum(phase, period - phase)


def blend_mask(width: int, height: int, pads: Pads) -> NDArray[np.float32]:
    """1 at the padded picture's edge, 0 at the photo's own, negative inside; `[height, width]` float32."""
    left, top, right, bottom = (f32(pad) for pad in pads)
    x, y = np.arange(width, dtype=f32), np.arange(height, dtype=f32)
    across = np.minimum(x / left, x[::-1] / right)
    down = np.minimum(y / top, y[::-1] / bottom)
    mask: NDArray[np.float32] = f32(1) - np.minimum(across[None, :], down[:, None])
    return mask


def blend(
    plane: NDArray[np.float32],
    target: NDArray[np.float32] | np.float32,
    weight: NDArray[np.float32],
) -> None:
    """Move `plane` towards `target`, in place: `plane += (target - plane) * weight`."""
    difference = np.subtract(target, plane)
    difference *= weight
    plane += difference


def median(plane: NDArray[np.float32]) -> np.float32:
    """The median, of an even count the float32 mean of the middle two."""
    middle = [(plane.size - 1) // 2, plane.size // 2]
    low, high = np.partition(plane, middle, axis=None)[middle]
    return f32((low + high) / f32(2))
