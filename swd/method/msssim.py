"""Multi-scale structural similarity: how alike two images are."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from swd.kernels.planes import window_means

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales, full resolution first."""

MIN_SIZE = 1 << (len(WEIGHTS) - 1)
"""Smallest side in pixels that has five scales."""

_BLOCK = 1 << 16
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_WINDOW_SIZE, _WINDOW_SIGMA = 11, 1.5


@torch.no_grad()
def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Similarity of image pairs, 1 for equal ones.

    Args:
        a: `[N, C, H, W]`, values in 0..255, uint8 or floating; not changed.
        b: The same shape.

    Returns:
        `[N]` float64 in 0..1, computed in float64.

    Raises:
        ValueError: The shapes differ, or a side is shorter than 16 px.

    Source: Wang, Simoncelli & Bovik 2003; Odena et al. 2017 for its use on generated images. Per scale, the
    contrast-structure term (the last scale: the whole similarity) is averaged over pixels and channels and
    clipped at 0 before the weighted product.

    >>> import swd, torch
    >>> image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    >>> swd.ms_ssim(image, image).tolist()
    [1.0]
    """
    if a.ndim != 4 or a.shape != b.shape:
        raise ValueError(f"a, b: expected equal [N, C, H, W], got {tuple(a.shape)} and {tuple(b.shape)}")
    if min(a.shape[2:]) < MIN_SIZE:
        raise ValueError(f"a, b: {a.shape[2]}x{a.shape[3]} px, five scales need {MIN_SIZE} px")
    # On a CPU, a few images at a time keep the intermediate ones in the cache.
    step = max(1, _BLOCK // a.shape[1:].numel() if a.device.type == "cpu" else len(a))
    blocks = zip(torch.split(a, step), torch.split(b, step), strict=True)
    return torch.cat([_block_scores(x.double(), y.double()) for x, y in blocks])


def _block_scores(a: Tensor, b: Tensor) -> Tensor:
    """`ms_ssim` of float64 images."""
    result = torch.ones(len(a), dtype=torch.float64, device=a.device)
    for scale, weight in enumerate(WEIGHTS):
        similarity, structure = _similarity(a, b)
        last = scale == len(WEIGHTS) - 1
        result *= (similarity if last else structure).clamp(min=0) ** weight
        if not last:
            a, b = _halve(a), _halve(b)
    return result


def _similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Mean similarity and contrast-structure term of each image, two `[N]`."""
    size = min(_WINDOW_SIZE, *a.shape[2:])
    window = _gaussian_window(size, size * _WINDOW_SIGMA / _WINDOW_SIZE)
    mean_a, mean_b = _filter(a, window), _filter(b, window)
    product, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    covariance = _filter(a * b, window) - product
    variances = _filter(a * a + b * b, window) - squares  # of both images together
    structure = (2 * covariance + _C2) / (variances + _C2)
    luminance = (2 * product + _C1) / (squares + _C1)
    return (luminance * structure).mean((1, 2, 3)), structure.mean((1, 2, 3))


def _gaussian_window(size: int, sigma: float) -> NDArray[np.float64]:
    """`size` taps around the middle, of sum 1."""
    positions = np.arange(size) - (size - 1) / 2
    window = np.exp(-(positions**2) / (2 * sigma**2))
    return np.asarray(window / window.sum())


def _filter(images: Tensor, window: NDArray[np.float64]) -> Tensor:
    """Weighted means over the square windows of s px that fit: `[N, C, H - s + 1, W - s + 1]`."""
    if images.device.type != "cpu":
        return _filter_axis(_filter_axis(images, window, 2), window, 3)
    means = window_means(images.numpy().reshape(-1, *images.shape[2:]), window)
    return torch.from_numpy(means).view(*images.shape[:2], *means.shape[1:])


def _filter_axis(images: Tensor, window: NDArray[np.float64], axis: int) -> Tensor:
    """`_filter` along one axis, on any device."""
    count = images.shape[axis] - len(window) + 1
    result = torch.zeros_like(images.narrow(axis, 0, count))
    for offset, tap in enumerate(window):
        result += float(tap) * images.narrow(axis, offset, count)
    return result


def _halve(images: Tensor) -> Tensor:
    """2x2 means; an odd last row or column is averaged with itself."""
    padded = functional.pad(images, (0, images.shape[3] % 2, 0, images.shape[2] % 2), mode="replicate")
    return functional.avg_pool2d(padded, 2)
