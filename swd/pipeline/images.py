"""One image: decoded as the metric wants it, and brought to the resolution of the comparison."""

import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from celebahq.errors import FormatError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")
"""Endings by which an image file is known."""

LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")

# Pillow would also run external programs (Ghostscript for EPS) on files that ask for it.
Image.init()
_FORMATS = tuple({"PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF"} & set(Image.OPEN))
_GREY_MODES = ("1", "L", "LA")
_COLOUR_MODES = ("RGB", "RGBA", "P", "CMYK", "YCbCr")
_MAX_PIXELS = 1 << 27
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # that limit is said in our own words


def read_header(file: BinaryIO, name: str) -> tuple[int, int, int]:
    """(channels, height, width) of an image file, without decoding it.

    Raises:
        FormatError: As for `decode`, as far as the header tells.
    """
    with _opened(file, name) as image:
        return 1 if image.mode in _GREY_MODES else 3, image.height, image.width


def decode(file: BinaryIO, name: str) -> NDArray[np.uint8]:
    """Decode an image file.

    Palettes and CMYK become RGB, EXIF orientation is applied, colour profiles are not.

    Args:
        file: PNG, JPEG, WebP, BMP, TIFF, PPM or GIF (its first frame).
        name: For messages.

    Returns:
        `[C, H, W]` uint8, C = 1 for grey files, else 3.

    Raises:
        FormatError: Damaged, no image of these formats, more than 8 bits, transparent, or above 134 million
            pixels.
    """
    with _opened(file, name) as image:
        ImageOps.exif_transpose(image, in_place=True)
        if image.has_transparency_data and np.asarray(image.convert("RGBA").getchannel("A")).min() < 255:
            raise FormatError(f"{name}: partly transparent; flatten it onto a background first")
        pixels = np.asarray(image.convert("L" if image.mode in _GREY_MODES else "RGB"))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


@contextmanager
def _opened(file: BinaryIO, name: str) -> Iterator[Image.Image]:
    """Pillow's image, its many kinds of failure turned into one."""
    try:
        with Image.open(file, formats=_FORMATS) as image:
            if image.mode not in _GREY_MODES + _COLOUR_MODES:
                raise FormatError(f"{name}: pixels of mode {image.mode}; convert it to 8 bits per channel")
            if image.width * image.height > _MAX_PIXELS:
                raise FormatError(f"{name}: {image.width}x{image.height} px is more than the metric reads")
            yield image
    except FormatError:
        raise
    except (
        *(OSError, SyntaxError, ValueError, EOFError, RuntimeError, MemoryError, OverflowError),
        *(struct.error, zlib.error, zipfile.BadZipFile, Image.DecompressionBombError),
    ) as err:
        raise FormatError(f"{name}: cannot be read ({_reason(err)}); remove or replace it") from err


def _reason(err: Exception) -> str:
    """What a failure says, on one line."""
    if isinstance(err, UnidentifiedImageError):
        return "no image of a known format"  # Pillow would name a Python object
    return " ".join(str(err).split()) or type(err).__name__


def fit(image: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """Reduce a square image: by a box filter where the factor is a power of two, else by Lanczos.

    The box mean of the original pixels is rounded once, half to even, as in a pyramid file.

    Args:
        image: `[C, s, s]` uint8, s >= `resolution`.
        resolution: Side of the result in pixels.

    Returns:
        `[C, resolution, resolution]` uint8.
    """
    channels, size = image.shape[:2]
    if size == resolution:
        return image
    if is_box_factor(size, resolution):
        factor = size // resolution
        blocks = image.reshape(channels, resolution, factor, resolution, factor)
        means: NDArray[np.float64] = blocks.mean(axis=(2, 4), dtype=np.float64)
        return np.rint(means).astype(np.uint8)
    planes = [
        Image.fromarray(plane).resize((resolution, resolution), Image.Resampling.LANCZOS) for plane in image
    ]
    return np.stack([np.asarray(plane) for plane in planes])


def is_box_factor(size: int, resolution: int) -> bool:
    """Whether `size` is `resolution` times a power of two."""
    factor, rest = divmod(size, resolution)
    return rest == 0 and factor & (factor - 1) == 0
