"""What sources made of picture files have in common: size and colours, StyleGAN's label file, decoding."""

import io
import json
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from celebahq.errors import FormatError, ToolError
from celebahq.images import decode_photo

LABELS_FILE = "dataset.json"
GREY_MODES = {"1", "L", "LA", "I", "I;16"}


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
    from PIL import Image

    reason = "there are none"
    for name in names:
        try:
            data = read(name)
            height, width, _ = decode_photo(io.BytesIO(data), name).shape
        except (ToolError, OSError) as err:
            reason = str(err)
            continue
        if height != width or width & (width - 1):
            raise ToolError(
                f"{where}: {name} has {width}x{height} pixels; the pictures must be squares of a power of "
                "two, such as 256x256 (for photos of people there is celebahq build)"
            )
        with Image.open(io.BytesIO(data)) as header:
            return Kind(width, 1 if header.mode in GREY_MODES else 3)
    raise ToolError(f"{where}: no picture can be decoded: {reason}")


def decode_as(kind: Kind, file: BinaryIO, name: str) -> np.ndarray:
    """A picture as `[C, r, r]` uint8.

    Raises:
        ToolError: It cannot be decoded, has another size, or has colours where the set is grey.
    """
    photo = decode_photo(file, name)
    height, width, _ = photo.shape
    if (height, width) != (kind.resolution, kind.resolution):
        raise ToolError(
            f"{name}: {width}x{height} pixels, but the first is {kind.resolution}x{kind.resolution}"
        )
    image = np.ascontiguousarray(photo.transpose(2, 0, 1))
    if kind.channels == 3:
        return image
    if (image[0] != image[1]).any() or (image[0] != image[2]).any():
        raise ToolError(f"{name}: has colours, but the first picture is grey")
    return image[:1]


def parse_labels(data: bytes, names: Sequence[str], where: str) -> np.ndarray | None:
    """Labels from StyleGAN's `dataset.json`: `{"labels": [[name, class or numbers], ...]}` or null.

    Args:
        data: The file.
        names: Of the pictures, in the order of the result.
        where: The file's name, for messages.

    Returns:
        `[N, L]` float32; class numbers become rows with a single 1, as many classes as the largest says.

    Raises:
        FormatError: It is not such a file, or lacks a picture.
    """
    try:
        entries = json.loads(data)["labels"]
        labels = None if entries is None else {name: label for name, label in entries}
    except (ValueError, KeyError, TypeError) as err:
        raise FormatError(f"{where}: not StyleGAN's labels, as in {{'labels': [['a.png', 3], ...]}}") from err
    if labels is None:
        return None
    missing = [name for name in names if name not in labels]
    if missing:
        raise FormatError(
            f"{where}: no label for {len(missing):,} of {len(names):,} pictures ({missing[0]}, ...)"
        )
    return _as_rows([labels[name] for name in names], where)


def class_rows(classes: Sequence[int]) -> np.ndarray:
    """Class numbers as rows with a single 1: `[N, largest + 1]` float32."""
    rows = np.zeros((len(classes), max(classes) + 1), np.float32)
    rows[np.arange(len(classes)), classes] = 1
    return rows


def _as_rows(values: list[Any], where: str) -> np.ndarray:
    if all(isinstance(value, int) and value >= 0 for value in values):
        return class_rows(values)
    try:
        rows = np.array(values, np.float32)
    except (ValueError, TypeError) as err:
        raise FormatError(f"{where}: the labels are not all class numbers, or rows of equal length") from err
    if rows.ndim != 2:
        raise FormatError(f"{where}: the labels are not all class numbers, or rows of equal length")
    return rows
