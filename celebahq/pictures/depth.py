"""Pictures of more than 8 bits per channel: how to know them, and all of them scaled by one rule."""

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")

Layers = tuple[Image.Image, Image.Image | None]
"""The colours, of mode L or RGB, and the opacity, of mode L, where there is one."""


def bits_per_channel(image: ImageFile.ImageFile, file: BinaryIO) -> int:
    """Bits per channel as they are stored; Pillow cuts colours of 16 bits to 8 without a word.

    Raises:
        ValueError: Numbers without a known range.
    """
    if image.mode == "F":
        raise ValueError("a floating-point picture, whose range is unknown; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        return 16
    if image.format == "JPEG2000":
        return _jpeg2000_bits(file)
    codec, *_, args = image.tile[0] if image.tile else ("", None)
    if codec == "ppm" and isinstance(args, tuple):
        return int(args[1]).bit_length()
    raw_mode = args[0] if isinstance(args, tuple) and args else args
    return 16 if isinstance(raw_mode, str) and ";16" in raw_mode else 8


def _jpeg2000_bits(file: BinaryIO) -> int:
    """Bits of the first component, from the codestream's SIZ marker (ISO/IEC 15444-1, A.5.1)."""
    data = _contents(file)
    depth = data[data.index(b"\xff\x4f\xff\x51") + 42] & 0x7F
    return depth + 1


def _contents(file: BinaryIO) -> bytes:
    place = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(place)
    return data


def own_layers(image: Image.Image) -> Layers:
    """Colours and opacity as Pillow decodes them."""
    opacity = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    return image.convert("L" if image.mode in GREY_MODES else "RGB"), opacity


def deep_layers(image: ImageFile.ImageFile, file: BinaryIO) -> Layers:
    """The same, scaled to 8 bits, of more than that.

    Raises:
        ValueError: Values beyond 16 bits, or colours that only Pillow could decode, which cuts them.
    """
    if image.format == "PPM" and image.mode == "RGB":
        return own_layers(image)  # scaled by Pillow's decoder
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.size and not 0 <= values.min() <= values.max() <= 65535:
            raise ValueError("a 32-bit picture, whose range is unknown; save it with 8 or 16 bits")
        key = image.info.get("transparency")
        return _scale(values), None if key is None else _scale((values != key) * 65535)
    channels = _decode_with_opencv(file)
    if channels.shape[:2] != (image.height, image.width):
        raise ValueError(f"sizes differ: {channels.shape[1]}x{channels.shape[0]}")
    opacity = _scale(channels[..., 3]) if channels.shape[2] == 4 else None
    return _scale(channels[..., 0] if image.mode in GREY_MODES else channels[..., 2::-1]), opacity


def _scale(values: NDArray[Any]) -> Image.Image:
    """16 bits to 8: v / 257, rounded."""
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _decode_with_opencv(file: BinaryIO) -> NDArray[np.uint16]:
    """`(H, W, 3 or 4)` as stored, blue first."""
    import cv2

    decoded = cv2.imdecode(np.frombuffer(_contents(file), np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3:
        raise ValueError("more than 8 bits per channel in a form that is not known; save it with 8 bits")
    channels: NDArray[np.uint16] = decoded
    return channels
