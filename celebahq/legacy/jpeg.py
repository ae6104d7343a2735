"""Decode a JPEG to the bytes that IJG libjpeg 8d gave."""

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from celebahq.errors import FormatError, MissingExtraError, ToolError

MAX_PIXELS = 100_000_000
"""CelebA's largest photo has 60 million."""

SAMPLING_444 = 0
"""What Pillow's `get_sampling` says of a picture whose chroma is not subsampled."""

_ijg_lock = threading.Lock()


def decode_jpeg(path: Path) -> NDArray[np.uint8]:
    """The pixels of a JPEG file as IJG libjpeg 8d decodes them; EXIF orientation is ignored.

    libjpeg-turbo, which is Pillow's decoder, gives the same bytes unless the chroma is subsampled: from
    version 7 on IJG enlarges chroma by a larger inverse DCT, everybody else by a triangle filter, and the
    two differ by tens of grey levels. Only such files need the package `jpeglib`.

    Returns:
        `[H, W, 3]` uint8 RGB; a grey file has three equal channels.

    Raises:
        FormatError: The file is not a whole RGB or grey JPEG.
        MissingExtraError: The chroma is subsampled and `jpeglib` is not installed.
        ToolError: The picture has more than `MAX_PIXELS` pixels.
    """
    try:
        with Image.open(path, formats=["JPEG"]) as picture:
            assert isinstance(picture, JpegImagePlugin.JpegImageFile)
            if picture.width * picture.height > MAX_PIXELS:
                raise ToolError(
                    path, f"{picture.width}x{picture.height} pixels, more than any photo of CelebA"
                )
            if picture.mode not in ("L", "RGB"):
                raise FormatError(path, f"a JPEG in {picture.mode}; CelebA's are RGB or grey")
            # Decoded in any case: libjpeg-turbo refuses damaged files which IJG fills with grey.
            pixels = np.array(picture.convert("RGB"))
            if picture.mode == "L" or JpegImagePlugin.get_sampling(picture) == SAMPLING_444:
                return pixels
    except UnidentifiedImageError as err:
        raise FormatError(path, "not a JPEG file") from err
    except Image.DecompressionBombError as err:
        raise ToolError(path, str(err)) from err
    except FileNotFoundError as err:
        raise ToolError(path, "no such file") from err
    except (OSError, SyntaxError) as err:
        raise FormatError(path, f"a damaged JPEG ({err})") from err
    return _decode_with_ijg(path)


def _decode_with_ijg(path: Path) -> NDArray[np.uint8]:
    try:
        import jpeglib
    except ImportError as err:
        raise MissingExtraError(
            "jpeglib", "reconstruct", f"{path}: decoding subsampled chroma as in 2017"
        ) from err
    # jpeglib keeps its chosen version and the markers it reads in globals of the process: one at a time.
    with _ijg_lock:
        if jpeglib.version.get() != "8d":
            jpeglib.version.set("8d")
        try:
            pixels: NDArray[np.uint8] = jpeglib.read_spatial(str(path)).spatial
        except OSError as err:
            raise FormatError(path, f"IJG libjpeg 8d cannot decode it ({err})") from err
    return pixels
