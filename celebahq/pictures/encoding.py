"""PNG files: the only place where they are written."""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import ToolError
from celebahq.files import atomic_path

HEADER_BYTES = 33
"""Signature and IHDR chunk, with which every PNG begins."""
NOTE = b"Comment\0"
"""The keyword of PNG for remarks."""
MAX_NOTE = 4096


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


def save_png(path: Path, picture: NDArray[np.uint8], *, note: str = "") -> None:
    """Write `(H, W, C)` uint8, C = 1 or 3 (RGB), as PNG, complete or not at all.

    Args:
        path: The file.
        picture: As for `encode_png`.
        note: A line of ASCII to be kept in the file, see `read_note`.

    Raises:
        ToolError: A side is longer than the encoder takes.
    """
    try:
        data = encode_png(picture)
    except ValueError as err:
        raise ToolError(path, str(err)) from err
    if note:
        data = data[:HEADER_BYTES] + _text_chunk(note) + data[HEADER_BYTES:]
    with atomic_path(path) as partial:
        partial.write_bytes(data)


def read_note(path: Path) -> str:
    """The note that `save_png` kept in a file; empty for any other file, and for one that cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(HEADER_BYTES)
            start = file.read(8 + len(NOTE))
            length = min(int.from_bytes(start[:4]), MAX_NOTE) - len(NOTE)
            if start[4:] != b"tEXt" + NOTE or length < 0:
                return ""
            return file.read(length).decode("ascii", "replace")
    except OSError:
        return ""


def _text_chunk(note: str) -> bytes:
    text = b"tEXt" + NOTE + note.encode("ascii")
    return struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
