"""One picture file, of whatever kind, as an array: the only place where pictures are decoded."""

import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from celebahq.errors import TOO_LITTLE_MEMORY, FormatError, MissingExtraError, ToolError
from celebahq.pictures.depth import GREY_MODES, bits_per_channel, deep_layers, own_layers

MAX_PIXELS = 1 << 27
"""Largest picture decoded unless told otherwise: 134 million pixels, 0.4 GB; CelebA's largest has 60."""

SCALE_DOWN = "scale it down first"
RAISE_LIMIT = "if the file is to be trusted, raise the limit (--max-pixels)"

# Pillow would also run external programs (Ghostscript for EPS) on files that ask for it.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")

HEIF_BRANDS = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"heis"))
"""Bytes 4 to 12 of HEIC files."""

Alpha = Literal["white", "refuse"]
"""What becomes of transparency: laid over white, or an error where a pixel is not opaque."""

Deep = Literal["scale", "refuse"]
"""What becomes of more than 8 bits per channel: scaled to 8 and rounded; or an error."""

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
        path: JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, JPEG 2000 or AVIF file; HEIC with the extra `heif`.
        orient: Turn the picture as its EXIF orientation says; values other than 2..8 mean upright.
        max_pixels: Refuse larger pictures before they are decoded.
        remedy: What can be done about it, for the message.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        FormatError: Empty, truncated, damaged, or not one of these formats.
        ToolError: The file cannot be opened, or has more pixels than allowed.

    >>> import celebahq, cv2, numpy
    >>> _ = cv2.imwrite("deep.png", numpy.full((2, 3), 65535, numpy.uint16))  # 16 bits, grey
    >>> celebahq.load_photo("deep.png")[0, 0].tolist()
    [255, 255, 255]
    """
    with open_picture(Path(path)) as file:
        return decode_photo(file, str(path), orient=orient, max_pixels=max_pixels, remedy=remedy)


def decode_photo(
    file: BinaryIO,
    name: str,
    *,
    orient: bool = True,
    max_pixels: int = MAX_PIXELS,
    remedy: str = SCALE_DOWN,
) -> NDArray[np.uint8]:
    """The same for an open file, or bytes in memory (`io.BytesIO`); `name` is for messages."""
    picture = decode_picture(file, name, orient=orient, max_pixels=max_pixels, remedy=remedy)
    return picture if picture.shape[2] == 3 else picture.repeat(3, axis=2)


def open_picture(path: Path) -> BinaryIO:
    """Open a file to be decoded.

    Raises:
        ToolError: It cannot be opened, or is no file: reading a pipe would wait for ever.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ToolError(path, f"{'a directory' if path.is_dir() else 'a pipe or device'}, not a file")
        return path.open("rb")
    except OSError as err:
        raise ToolError(path, str(err.strerror)) from err


def decode_picture(
    file: BinaryIO,
    name: str,
    *,
    alpha: Alpha = "white",
    deep: Deep = "scale",
    orient: bool = True,
    max_pixels: int = MAX_PIXELS,
    remedy: str = SCALE_DOWN,
) -> NDArray[np.uint8]:
    """The same with every choice open, and grey pictures as such.

    Args:
        file: An open file, or bytes in memory.
        name: For messages.
        alpha: Policy for transparency.
        deep: Policy for more than 8 bits per channel.
        orient: As for `load_photo`; so are the other two.
        max_pixels: See there.
        remedy: See there.

    Returns:
        `(H, W, C)` uint8; C = 1 where the file is grey, else 3: CMYK, palettes and other colours become RGB.

    Raises:
        FormatError: Empty, truncated, damaged, not one of `FORMATS`, or refused by a policy.
        ToolError: It has more pixels than allowed.
    """
    with _opened(file, name, max_pixels, remedy) as image:
        is_deep = _is_deep(image, file, name, deep)
        layers = deep_layers(image, file) if is_deep else own_layers(image)
        orientation = _orientation(image) if orient else 1
        pixels = _flatten(*layers, alpha, name)
        if orientation in UPRIGHT:
            pixels = pixels.transpose(UPRIGHT[orientation])
        picture = np.array(pixels)
    return picture[..., None] if picture.ndim == 2 else picture


def picture_shape(file: BinaryIO, name: str, *, deep: Deep = "scale") -> tuple[int, int, int]:
    """(channels, height, width) of a picture as it is stored, without decoding it.

    Raises:
        FormatError: As for `decode_picture`, as far as the header tells.
        ToolError: It has more than `MAX_PIXELS`.
    """
    with _opened(file, name, MAX_PIXELS, SCALE_DOWN) as image:
        _is_deep(image, file, name, deep)
        return 1 if image.mode in GREY_MODES else 3, image.height, image.width


@contextmanager
def _opened(file: BinaryIO, name: str, max_pixels: int, remedy: str) -> Iterator[ImageFile.ImageFile]:
    """Pillow's image, its many kinds of failure turned into one."""
    try:
        with _own_limit, Image.open(file, formats=_known_formats()) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ToolError(
                    name, f"{width}x{height} pixels, but at most {max_pixels:,} are decoded; {remedy}"
                )
            yield image
    except ToolError:
        raise
    except MemoryError as err:
        raise ToolError(name, TOO_LITTLE_MEMORY) from err
    except UnidentifiedImageError as err:
        empty = file.seek(0, os.SEEK_END) == 0
        file.seek(0)
        if file.read(12)[4:] in HEIF_BRANDS and "HEIF" not in Image.OPEN:
            raise MissingExtraError("pillow-heif", "heif", f"{name}: decoding HEIC") from err
        raise FormatError(name, f"{'an empty file' if empty else 'not a picture of a known format'}") from err
    except Exception as err:  # decoders of damaged files raise whatever their parsers meet
        reason = " ".join(str(err).split()) or type(err).__name__
        raise FormatError(name, f"cannot be decoded: {reason}") from err


def _is_deep(image: ImageFile.ImageFile, file: BinaryIO, name: str, deep: Deep) -> bool:
    bits = bits_per_channel(image, file)
    if bits > 8 and deep == "refuse":
        raise FormatError(name, f"{bits} bits per channel; convert it to 8 bits per channel")
    return bits > 8


def _flatten(picture: Image.Image, opacity: Image.Image | None, alpha: Alpha, name: str) -> Image.Image:
    if opacity is None:
        return picture
    if alpha == "white":
        layer = picture.convert("RGBA")
        layer.putalpha(opacity)
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert(picture.mode)
    if opacity.getextrema() != (255, 255):
        raise FormatError(name, "partly transparent; flatten it onto a background first")
    return picture


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 (upright) where there is none or the block is damaged."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except MemoryError:
        raise
    except Exception:  # a broken EXIF block must not cost the picture
        return 1


@lru_cache(maxsize=1)
def _known_formats() -> list[str]:
    """`FORMATS` as far as this build of Pillow has them; HEIF with the extra `heif`."""
    Image.init()
    if "HEIF" not in Image.OPEN:
        with suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener()
    return [name for name in FORMATS if name in Image.OPEN]


class _OwnLimit:
    """Replaces Pillow's limit on pixels, which warns first, by our own check, and mutes its remarks on files.

    Both are settings of the whole process: the first thread to come changes them, the last one to go restores
    them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._settings = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                with ExitStack() as settings:  # which goes back on what it has done, if it fails
                    settings.enter_context(warnings.catch_warnings())
                    warnings.simplefilter("ignore")
                    settings.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
                    Image.MAX_IMAGE_PIXELS = None
                    self._settings = settings.pop_all()
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._settings.close()


_own_limit = _OwnLimit()
