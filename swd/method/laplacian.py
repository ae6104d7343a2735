"""The Laplacian pyramid: an image as octave bands of detail."""

import numpy as np
import torch
from torch import Tensor

from swd.kernels.planes import split_planes

MIN_RESOLUTION = 16
"""The coarsest level of the metric's pyramid, in pixels."""


def level_resolutions(resolution: int) -> list[int]:
    """The metric's levels for images of `resolution` px: `[resolution, ..., 32, 16]`."""
    return [resolution >> level for level in range((resolution // MIN_RESOLUTION).bit_length())]


@torch.no_grad()
def laplacian_pyramid(images: Tensor, levels: int) -> list[Tensor]:
    """Split images into octave bands.

    Args:
        images: `[N, C, H, W]`, uint8 or floating, of any value range; never changed. No gradient flows back.
        levels: Number of levels, the last of them the low-pass image.

    Returns:
        `levels` tensors `[N, C, h, w]` float32, largest first: level i is the i times reduced image minus
        the enlarged next one (cut to size where h or w is odd), the last the reduced image itself.

    Raises:
        ValueError: `images` is not `[N, C, H, W]`, or too small for `levels`.

    Source: Karras et al. 2018, section 5; Burt & Adelson 1983.

    >>> import swd, torch
    >>> [tuple(level.shape) for level in swd.laplacian_pyramid(torch.zeros(2, 3, 64, 64), levels=3)]
    [(2, 3, 64, 64), (2, 3, 32, 32), (2, 3, 16, 16)]
    """
    if images.ndim != 4:
        raise ValueError(f"images: expected [N, C, H, W], got shape {tuple(images.shape)}")
    if levels < 1 or min(images.shape[2:]) < 2 ** (levels - 1):
        raise ValueError(f"levels: {levels} do not fit images of {images.shape[2]}x{images.shape[3]} pixels")
    current = images.float()
    pyramid = []
    for _ in range(levels - 1):
        band, current = _split(current, overwrite=current is not images)
        pyramid.append(band)
    # With a single level the low-pass would be the caller's own tensor.
    pyramid.append(current.clone() if current is images else current)
    return pyramid


def _split(images: Tensor, *, overwrite: bool) -> tuple[Tensor, Tensor]:
    """Float32 images `[N, C, H, W]` less their enlarged reduced ones, and the reduced ones.

    `overwrite` tells that the images are not needed any more.
    """
    count, channels, height, width = images.shape
    if images.device.type == "cpu":
        planes = np.ascontiguousarray(images.numpy()).reshape(-1, height, width)
        bands, smaller = map(torch.from_numpy, split_planes(planes, overwrite=overwrite))
        return bands.view(images.shape), smaller.view(count, channels, *smaller.shape[1:])
    reduced = pyr_down(images)
    return images - pyr_up(reduced)[:, :, :height, :width], reduced


def pyr_down(images: Tensor) -> Tensor:
    """Blur with the 5-tap binomial kernel [1 4 6 4 1] / 16 per axis, keep every second pixel.

    Args:
        images: `[N, C, H, W]` float32 on any device; the border is mirrored without repeating the edge pixel.

    Returns:
        `[N, C, ceil(H / 2), ceil(W / 2)]` float32.
    """
    return _down_axis(_down_axis(images, 3), 2)


def pyr_up(images: Tensor) -> Tensor:
    """Double the size: zeros between the pixels, then twice the binomial kernel per axis.

    Args:
        images: `[N, C, H, W]` float32 on any device. The zero-stuffed image is mirrored, which in source
            pixels is reflection at the left and top and replication at the right and bottom.

    Returns:
        `[N, C, 2 H, 2 W]` float32.
    """
    return _up_axis(_up_axis(images, 3), 2)


def _down_axis(images: Tensor, axis: int) -> Tensor:
    """`pyr_down` along one axis."""
    size = images.shape[axis]
    centers = torch.arange(0, size, 2, device=images.device)
    # The mirrored position has period 2 (size - 1); the distance to its nearest multiple is the pixel.
    period = max(2 * (size - 1), 1)
    taps = []
    for offset in range(-2, 3):
        position = (centers + offset) % period
        taps.append(images.index_select(axis, torch.minimum(position, period - position) % period))
    return (taps[0] + taps[4] + 4 * (taps[1] + taps[3]) + 6 * taps[2]) / 16


def _up_axis(images: Tensor, axis: int) -> Tensor:
    """`pyr_up` along one axis."""
    size = images.shape[axis]
    here = torch.arange(size, device=images.device)
    before = images.index_select(axis, (here - 1).abs().clamp(max=size - 1))
    after = images.index_select(axis, (here + 1).clamp(max=size - 1))
    even, odd = (before + 6 * images + after) / 8, (images + after) / 2
    return torch.stack([even, odd], dim=axis + 1).flatten(axis, axis + 1)
