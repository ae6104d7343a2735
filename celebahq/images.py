"""One photo file, of whatever kind, as an RGB array."""

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from celebahq.errors import FormatError, ToolError

MAX_PIXELS = 1 << 27
"""Largest photo decoded unless told otherwise: 134 million pixels, 0.4 GB; CelebA's largest has 60."""

SCALE_DOWN = "scale it down first"
RAISE_LIMIT = "if the file is to be trusted, raise the limit (--max-pixels)"

# Pillow would also run external programs (Ghostscript for EPS) on files that ask for it.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")

SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".png",
    ".webp",
    ".tif",
    ".tiff",
    ".bmp",
    ".gif",
    ".ppm",
    ".jp2",
    ".avif",
)
"""Endings by which a photo is known in a folder; the contents decide how it is read."""

ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_photo(
    path: Path | str, *, orient: bool = True, max_pixels: int = MAX_PIXELS, remedy: str = SCALE_DOWN
) -> NDArray[np.uint8]:
    """Decode a photo by its contents, whatever its name says.

    Grey, palette, 1-bit, CMYK and 16-bit pictures become 8-bit RGB, transparency is laid over white, of an
    animation the first frame is taken. Colour profiles are not applied.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, JPEG 2000 or AVIF file.
        orient: Turn the picture as its EXIF orientation says; values other than 2..8 mean upright.
        max_pixels: Refuse larger pictures before they are decoded.
        remedy: What can be done about it, for the message.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        FormatError: Empty, truncated, damaged, or not one of these formats.
        ToolError: The file cannot be opened, or has more pixels than allowed.
    """
    with open_photo(Path(path)) as file:
        return decode_photo(file, str(path), orient=orient, max_pixels=max_pixels, remedy=remedy)


def open_photo(path: Path) -> BinaryIO:
    """Open a file to be decoded.

    Raises:
        ToolError: It cannot be opened, or is no file: reading a pipe would wait for ever.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ToolError(f"{path}: {'a directory' if path.is_dir() else 'a pipe or device'}, not a file")
        return path.open("rb")
    except OSError as err:
        raise ToolError(f"{path}: {err.strerror}") from err


def decode_photo(
    file: BinaryIO,
    name: str,
    *,
    orient: bool = True,
    max_pixels: int = MAX_PIXELS,
    remedy: str = SCALE_DOWN,
) -> NDArray[np.uint8]:
    """The same for an open file, or bytes in memory (`io.BytesIO`); `name` is for messages."""
    try:
        with _own_limit(), Image.open(file, formats=_known_formats()) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ToolError(
                    f"{name}: {width}x{height} pixels, but at most {max_pixels:,} are decoded; {remedy}"
                )
            image.load()
            orientation = _orientation(image) if orient else 1
            picture = _to_rgb(image)
    except ToolError:
        raise
    except UnidentifiedImageError as err:
        empty = file.seek(0, os.SEEK_END) == 0
        raise FormatError(
            f"{name}: {'an empty file' if empty else 'not a picture of a known format'}"
        ) from err
    except Exception as err:  # decoders of damaged files raise whatever their parsers meet
        raise FormatError(f"{name}: cannot be decoded: {err or type(err).__name__}") from err
    if orientation in UPRIGHT:
        picture = picture.transpose(UPRIGHT[orientation])
    return np.array(picture)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.mode == "F":
        raise ValueError("a floating-point picture, whose range is unknown; save it with 8 or 16 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.size and not 0 <= values.min() <= values.max() <= 65535:
        raise ValueError("a 32-bit picture, whose range is unknown; save it with 8 or 16 bits")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8)).convert("RGB")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 (upright) where there is none or the block is damaged."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # a broken EXIF block must not cost the picture
        return 1


def _known_formats() -> list[str]:
    """`FORMATS` as far as this build of Pillow has them."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@contextmanager
def _own_limit() -> Iterator[None]:
    """Replace Pillow's limit on pixels, which warns first, by our own check; mute its remarks on files."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
