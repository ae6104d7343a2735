"""PNG files: the only place where they are written."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import ToolError
from celebahq.files import atomic_path


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """A PNG file, the same bytes for the same pixels.

    OpenCV's encoder, for it is the fastest: 3.6 ms for a photo of 256 x 256 pixels, where Pillow takes 30 ms
    and makes files 15 % smaller (Xeon with AMX, one core).

    Args:
        picture: `(H, W, C)` uint8, C = 1 or 3 (RGB).

    Raises:
        ValueError: A side is longer than the encoder takes.
    """
    import cv2

    done, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    if not done:
        raise ValueError(f"{picture.shape[1]}x{picture.shape[0]} pixels are too many for a PNG")
    return bytes(data)


def save_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write `(H, W, C)` uint8, C = 1 or 3 (RGB), as PNG, complete or not at all.

    Raises:
        ToolError: A side is longer than the encoder takes.
    """
    try:
        data = encode_png(picture)
    except ValueError as err:
        raise ToolError(path, str(err)) from err
    with atomic_path(path) as partial:
        partial.write_bytes(data)
