"""SciPy 0.19.1's Gaussian filter, bit for bit, at the speed of a matrix product."""

import math

import numpy as np
from numpy.typing import NDArray

BLOCK = 128
"""Output rows per matrix product; more rows waste more multiplications by zero."""

SLACK_PER_TAP = 2 * float(np.finfo(np.float64).eps)
"""Twice what the order of additions can change a sum by, relative to it and per term."""


def gaussian(plane: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Blur `[H, W]` non-negative values: down the columns, rounded to float32, then along the rows."""
    kernel = gaussian_kernel(sigma)
    return correlate(correlate(plane, kernel).T, kernel).T


def gaussian_kernel(sigma: float) -> NDArray[np.float64]:
    """A Gaussian cut off at 4 sigma; the sum that normalises it is accumulated from the centre outwards."""
    half = [math.exp(-0.5 * i * i / (sigma * sigma)) for i in range(1, int(4 * sigma + 0.5) + 1)]
    total = 1.0
    for weight in half:
        total += 2.0 * weight
    return np.array([*half[::-1], 1.0, *half]) / total


def correlate(plane: NDArray[np.float32], kernel: NDArray[np.float64]) -> NDArray[np.float32]:
    """Correlate the columns of `[H, W]` with a symmetric kernel in double, mirrored with the edge repeated.

    SciPy adds the products of a window in a certain order and rounds the sum to float32. A matrix product
    adds them in another order, several times faster. The terms are positive, so either sum of n of them is
    within about n roundings (each half an eps) of the true one, and the two within n eps of each other: they
    round to the same float32 unless one lies that close to where float32 rounding changes. Those few in a
    million are summed again in SciPy's order.
    """
    assert plane.min() >= 0
    radius = len(kernel) // 2
    height = len(plane)
    slack = SLACK_PER_TAP * len(kernel)
    extended = plane[_mirrored(height, radius)].astype(np.float64)  # [radius + H + radius, W]
    band = _band_matrix(kernel, min(BLOCK, height))
    result = np.empty_like(plane, order="C")
    for top in range(0, height, BLOCK):
        count = min(BLOCK, height - top)
        window = extended[top : top + count + 2 * radius]
        sums = band[:count, : len(window)] @ window
        lowest, highest = ((sums * factor).astype(np.float32) for factor in (1 - slack, 1 + slack))
        result[top : top + count] = lowest
        rows, columns = np.nonzero(lowest != highest)
        result[top + rows, columns] = _ordered_sums(window, rows, columns, kernel)
    return result


def _mirrored(size: int, margin: int) -> NDArray[np.intp]:
    phase = np.arange(-margin, size + margin) % (2 * size)
    return np.minimum(phase, 2 * size - 1 - phase)


def _band_matrix(kernel: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """`[count, count + len(kernel) - 1]`: the kernel, one step further right in each row."""
    band = np.zeros((count, count + len(kernel) - 1))
    for row in range(count):
        band[row, row : row + len(kernel)] = kernel
    return band


def _ordered_sums(
    window: NDArray[np.float64],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    kernel: NDArray[np.float64],
) -> NDArray[np.float64]:
    """SciPy's sums at a few places: the centre, then pairs from the outermost inwards."""
    radius = len(kernel) // 2
    values = window[rows[:, None] + np.arange(len(kernel)), columns[:, None]]  # [places, len(kernel)]
    sums: NDArray[np.float64] = values[:, radius] * kernel[radius]
    for i in range(radius):
        sums += (values[:, i] + values[:, -1 - i]) * kernel[i]
    return sums
