"""What sources made of picture files have in common: square images of one size and kind."""

import io
from collections.abc import Callable, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from celebahq.errors import ToolError
from celebahq.pictures.decoding import decode_photo, decode_picture


class Kind(NamedTuple):
    """What all pictures of a set must be."""

    resolution: int
    channels: int


def kind_of_first(names: Sequence[str], read: Callable[[str], bytes], where: str) -> Kind:
    """Size and colours of the first picture that can be decoded.

    Args:
        names: Of the pictures.
        read: Name -> the file's bytes.
        where: The set, for messages.

    Raises:
        ToolError: It is not a square of a power of two, or none can be decoded.
    """
    reason = "there are none"
    for name in names:
        try:
            height, width, channels = decode_picture(io.BytesIO(read(name)), name).shape
        except (ToolError, OSError) as err:
            reason = str(err)
            continue
        if height != width or width & (width - 1):
            raise ToolError(
                where,
                f"{name} has {width}x{height} pixels; the pictures must be squares of a power of "
                "two, such as 256x256 (for photos of people there is celebahq build)",
            )
        return Kind(width, channels)
    raise ToolError(where, f"no picture can be decoded: {reason}")


def decode_as(kind: Kind, file: BinaryIO, name: str) -> np.ndarray:
    """A picture as `[C, r, r]` uint8.

    Raises:
        ToolError: It cannot be decoded, has another size, or has colours where the set is grey.
    """
    photo = decode_photo(file, name)
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
