"""The files that define the published CelebA-HQ: `image_list.txt` and 30 zips of encrypted deltas.

deltas00000.zip ... deltas29000.zip    delta00000.dat ... in each
image_list.txt                         idx orig_idx orig_file proc_md5 final_md5, one line per image
"""

import hashlib
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError, ToolError
from celebahq.legacy.delta import delta_name, zip_name
from celebahq.readers.zips import UNZIP_ERRORS

IMAGE_LIST = "image_list.txt"
COLUMNS = ("idx", "orig_idx", "orig_file", "proc_md5", "final_md5")
PATTERNS = (r"\d+", r"\d+", r"[\w-][\w.-]*", r"[0-9a-f]{32}", r"[0-9a-f]{32}")  # no path leaves the folder

COUNT = 30_000
"""Images of CelebA-HQ."""
HOW_TO_GET = "the authors' page is https://github.com/tkarras/progressive_growing_of_gans"


class PublishedImage(NamedTuple):
    """A line of `image_list.txt`."""

    idx: int
    """Position in CelebA-HQ."""
    orig_idx: int
    """Position in CelebA, from 0."""
    orig_file: str
    proc_md5: str
    """Of the aligned photo's CHW bytes."""
    final_md5: str
    """Of the published image's CHW bytes."""


def read_image_list(path: Path) -> list[PublishedImage]:
    """All lines, in the order of `idx`.

    Raises:
        ToolError: The file is missing.
        FormatError: A line is not what it must be, or an image is listed twice.
    """
    try:
        header, *lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        raise ToolError(path, f"not found; {HOW_TO_GET}") from None
    except (UnicodeDecodeError, ValueError):
        raise FormatError(path, "not a list of images") from None
    names = header.split()
    if sorted(names) != sorted(COLUMNS):
        raise FormatError(
            path, f"line 1 must name the columns {' '.join(COLUMNS)}, not '{header.strip()[:60]}'"
        )
    images = []
    for number, line in enumerate(lines, start=2):
        fields = dict(zip(names, line.split(), strict=False))
        values = [fields.get(name, "") for name in COLUMNS]
        if not all(
            re.fullmatch(pattern, value, re.ASCII) for pattern, value in zip(PATTERNS, values, strict=True)
        ):
            raise FormatError(path, f"line {number} must be {' '.join(COLUMNS)}, not '{line.strip()[:60]}'")
        images.append(PublishedImage(int(values[0]), int(values[1]), *values[2:]))
    if not images or len({image.idx for image in images}) != len(images):
        raise FormatError(path, f"{'lists an image twice' if images else 'lists no image'}")
    return sorted(images)


def find_missing_deltas(delta_dir: Path, images: Sequence[PublishedImage]) -> list[str]:
    """What is wrong with the zips that these images need, one sentence per zip."""
    problems = []
    for name in sorted({zip_name(image.idx) for image in images}):
        path = delta_dir / name
        needed = {delta_name(image.idx) for image in images if zip_name(image.idx) == name}
        try:
            with zipfile.ZipFile(path) as archive:
                missing = sorted(needed - {info.filename for info in archive.infolist() if info.file_size})
        except FileNotFoundError:
            problems.append(f"{path}: not found; {HOW_TO_GET}")
        except (*UNZIP_ERRORS, OSError) as err:
            problems.append(f"{path}: incomplete or damaged ({err}); get it again")
        else:
            if missing:
                problems.append(f"{path}: lacks {len(missing)} of {len(needed)} deltas ({and_more(missing)})")
    return problems


def and_more(names: Sequence[str]) -> str:
    """The first name, and whether there are more."""
    return names[0] + (", ..." if len(names) > 1 else "")


def md5_array(array: NDArray[Any]) -> str:
    """MD5 of an array's bytes in C order."""
    return hashlib.md5(np.ascontiguousarray(array).data, usedforsecurity=False).hexdigest()
