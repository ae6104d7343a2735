"""Images as people look at them: uint8, arranged in a grid, saved as PNG."""

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from celebahq.files import atomic_path


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


def image_grid(images: Tensor, columns: int) -> npt.NDArray[np.uint8]:
    """Arrange images row by row.

    Args:
        images: `[N, C, H, W]` uint8, N a multiple of `columns`.
        columns: Images per row.

    Returns:
        `[rows * H, columns * W, C]` uint8.
    """
    n, c, h, w = images.shape
    if n % columns:
        raise ValueError(f"images: {n} do not fill rows of {columns}")
    tiles = images.reshape(n // columns, columns, c, h, w)
    grid = tiles.permute(0, 3, 1, 4, 2).reshape(n // columns * h, columns * w, c)
    return np.ascontiguousarray(grid.cpu().numpy())


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """`[H, W, C]` uint8 (C = 1 or 3) as PNG."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def save_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write `[H, W, C]` uint8 (C = 1 or 3) as PNG, atomically."""
    with atomic_path(path) as partial:
        partial.write_bytes(encode_png(pixels))
