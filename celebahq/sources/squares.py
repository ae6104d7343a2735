"""What sources made of picture files have in common: square images of one size and kind."""

from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from celebahq.errors import ToolError
from celebahq.pictures.decoding import decode_photo, decode_picture
from celebahq.pictures.files import PictureFiles


class Kind(NamedTuple):
    """What all pictures of a set must be."""

    resolution: int
    channels: int


def find_kind(files: PictureFiles, side: int | None = None) -> Kind:
    """Size and colours of the first picture that can be decoded.

    Args:
        files: The pictures.
        side: To which pictures of any size are to be brought.

    Raises:
        ToolError: It is not a square of a power of two, where there is no `side`, or none can be decoded.
    """
    reason = ""
    for name in files.names:
        try:
            with files.open(name) as file:
                height, width, channels = decode_picture(file, name).shape
        except (ToolError, OSError) as err:
            reason = str(err)
            continue
        if side is None and (height != width or width & (width - 1)):
            raise ToolError(
                files.path,
                f"{name} has {width}x{height} pixels; the pictures must be squares of a power of "
                "two, such as 256x256 (for photos of people there is celebahq build)",
            )
        return Kind(side or width, channels)
    raise ToolError(files.path, f"no picture can be decoded: {reason}")


def resized_square(photo: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The middle square of an `(H, W, C)` uint8 picture at another size: `(side, side, C)`, by Lanczos."""
    height, width, _ = photo.shape
    length = min(height, width)
    top, left = (height - length) // 2, (width - length) // 2
    square = photo[top : top + length, left : left + length]
    scaled = Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(scaled)


def decode_as(
    kind: Kind, file: BinaryIO, name: str, *, resize: bool = False, center_crop: bool = False
) -> NDArray[Any]:
    """A picture as `[C, r, r]` uint8.

    Args:
        kind: What it must be.
        file: Open.
        name: For messages.
        resize: Bring it to the size.
        center_crop: And to a square.

    Raises:
        ToolError: It cannot be decoded, has another size, or has colours where the set is grey.
    """
    photo = decode_photo(file, name)
    height, width, _ = photo.shape
    if resize and height != width and not center_crop:
        raise ToolError(name, f"{width}x{height} pixels are no square; --center-crop takes the middle")
    if resize and (height, width) != (kind.resolution, kind.resolution):
        photo = resized_square(photo, kind.resolution)
        height, width, _ = photo.shape
    if (height, width) != (kind.resolution, kind.resolution):
        raise ToolError(
            name, f"{width}x{height} pixels, but the first is {kind.resolution}x{kind.resolution}"
        )
    image = np.ascontiguousarray(photo.transpose(2, 0, 1))
    if kind.channels == 3:
        return image
    if (image[0] != image[1]).any() or (image[0] != image[2]).any():
        raise ToolError(name, "has colours, but the first picture is grey")
    return image[:1]
