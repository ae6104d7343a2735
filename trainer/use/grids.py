"""Images as people look at them: uint8, as large as they want them, as many as a screen holds."""

import torch
import torch.nn.functional as F
from torch import Tensor


def to_uint8(images: Tensor) -> Tensor:
    """Map -1 .. 1 to 0 .. 255, rounded and clipped; the inverse of x * 2 / 255 - 1."""
    return (images.to(torch.float32) * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def enlarge(images: Tensor, resolution: int) -> Tensor:
    """Repeat pixels until the images have this side, `[N, C, resolution, resolution]`."""
    factor = resolution // images.shape[-1]
    return F.interpolate(images, scale_factor=factor, mode="nearest") if factor > 1 else images


def grid_shape(resolution: int) -> tuple[int, int]:
    """Columns and rows that fill about 1920 x 1080 pixels, as the Theano original lays out its grids."""
    columns = min(max(1920 // resolution, 3), 16)
    rows = min(max(1080 // resolution, 2), 16)
    return columns, rows
