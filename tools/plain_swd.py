"""The sliced Wasserstein distance as the paper states it, in plain NumPy and SciPy.

The tests hold `swd` against it, and `bench_swd.py` measures how much faster `swd` is. It is written to be
checked by eye against Karras et al. 2018, section 5; patch centres and directions are arguments.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]).astype(np.float32)[None, None] / 256
SIZE = 7

Array = NDArray[Any]
Centers = list[Array]
"""Per level `[N, P, 2]` middles (y, x) of the patches."""


def pyr_down(images: Array) -> Array:
    """Blur, then every second pixel; `[N, C, H, W]` float32."""
    return np.asarray(ndimage.convolve(images, KERNEL, mode="mirror"))[:, :, ::2, ::2]


def pyr_up(images: Array) -> Array:
    """Zeros between the pixels, then blur times 4."""
    n, c, height, width = images.shape
    stuffed = np.zeros((n, c, 2 * height, 2 * width), np.float32)
    stuffed[:, :, ::2, ::2] = images
    return np.asarray(ndimage.convolve(stuffed, KERNEL * 4, mode="mirror"))


def laplacian_pyramid(images: Array) -> list[Array]:
    """Levels of `[N, C, r, r]` down to 16 px, finest first."""
    levels = [images.astype(np.float32)]
    while levels[-1].shape[-1] > 16:
        reduced = pyr_down(levels[-1])
        levels[-1] -= pyr_up(reduced)
        levels.append(reduced)
    return levels


def gather_patches(level: Array, centers: Array) -> Array:
    """`[N * P, C, 7, 7]`."""
    offsets = np.arange(SIZE) - SIZE // 2
    image = np.arange(len(level))[:, None, None, None, None]
    channel = np.arange(level.shape[1])[:, None, None]
    y = centers[:, :, 0, None, None, None] + offsets[:, None]
    x = centers[:, :, 1, None, None, None] + offsets
    return level[image, channel, y, x].reshape(-1, level.shape[1], SIZE, SIZE)


def normalize(patches: Array) -> Array:
    """Each channel to mean 0 and standard deviation 1; `[M, C * 49]`."""
    patches = patches - patches.mean(axis=(0, 2, 3), keepdims=True)
    patches /= patches.std(axis=(0, 2, 3), keepdims=True)
    return patches.reshape(len(patches), -1)


def sliced_wasserstein(a: Array, b: Array, directions: Array) -> float:
    """Mean over directions `[D, P]` and ranks of the difference of the sorted projections."""
    projected_a = np.sort(a @ directions, axis=0)
    projected_b = np.sort(b @ directions, axis=0)
    return float(np.mean(np.abs(projected_a - projected_b)))


def describe(images: Array, centers: Centers, minibatch: int = 16) -> list[Array]:
    """Normalised descriptors of each level."""
    patches: list[list[Array]] = []
    for start in range(0, len(images), minibatch):
        rows = slice(start, start + minibatch)
        levels = laplacian_pyramid(images[rows])
        patches.append(
            [gather_patches(level, middles[rows]) for level, middles in zip(levels, centers, strict=True)]
        )
    return [normalize(np.concatenate(level)) for level in zip(*patches, strict=True)]


def distances(
    a: Array, b: Array, centers_a: Centers, centers_b: Centers, repeats: list[Array]
) -> list[float]:
    """Distance x 1000 of each level, then their mean; `repeats` are arrays of directions."""
    levels = [
        1000 * float(np.mean([sliced_wasserstein(x, y, directions) for directions in repeats]))
        for x, y in zip(describe(a, centers_a), describe(b, centers_b), strict=True)
    ]
    return [*levels, float(np.mean(levels))]
