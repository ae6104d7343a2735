"""Filters of floating-point image planes on a CPU."""

import cv2
import numpy as np
from numpy.typing import NDArray


def split_planes(
    planes: NDArray[np.float32], *, overwrite: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Planes `[N, H, W]` less their enlarged reduced ones, and the reduced ones.

    In place if they may be overwritten, since fresh memory costs as much as the arithmetic.

    Returns:
        `[N, H, W]` and `[N, ceil(H / 2), ceil(W / 2)]`, as `swd.method.laplacian` reduces and enlarges.
    """
    count, height, width = planes.shape
    bands = planes if overwrite else np.empty_like(planes)
    reduced = np.empty((count, (height + 1) // 2, (width + 1) // 2), np.float32)
    enlarged = np.empty((2 * reduced.shape[1], 2 * reduced.shape[2]), np.float32)
    for plane, band, small in zip(planes, bands, reduced, strict=True):
        cv2.pyrDown(plane, dst=small)
        cv2.pyrUp(small, dst=enlarged)
        np.subtract(plane, enlarged[:height, :width], out=band)
    return bands, reduced


def window_means(planes: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means over the square windows of s px that fit.

    Args:
        planes: `[N, H, W]`.
        window: `[s]`, the weights along either axis.

    Returns:
        `[N, H - s + 1, W - s + 1]`.
    """
    height, width = (side - len(window) + 1 for side in planes.shape[1:])
    # Anchored at its first tap, the window fits up to `s - 1` from the end.
    filtered = [cv2.sepFilter2D(plane, -1, window, window, anchor=(0, 0)) for plane in planes]
    return np.stack([plane[:height, :width] for plane in filtered])
