"""Is what HDF5 says about a file the structure of a pyramid?"""

import re
from math import prod
from pathlib import Path

import numpy as np

from celebahq.errors import FormatError
from celebahq.formats.hdf5_file import FileFacts
from celebahq.formats.levels import FORMAT_NAME, FORMAT_VERSION, level_name, level_resolutions

MAX_RESOLUTION = 1 << 14
"""Larger images are not read: one takes 0.8 GB."""
MAX_RATIO = 100_000
"""Raw bytes of a level to bytes of the file: more than any codec reaches, even on a single colour."""


def check_format(path: Path, facts: FileFacts) -> int | None:
    """The version of the file; None for the original's layout.

    Raises:
        FormatError: Another format, or a later version than this tool knows.
    """
    datasets = [*facts["levels"].values(), *facts["columns"].values()]
    if facts["format"] is None:
        if facts["crc32"] is not None or any(dataset["crc32"] is not None for dataset in datasets):
            raise FormatError(path, "damaged: it has checksums, and no attribute that names its format")
        return None
    if facts["format"] != FORMAT_NAME:
        raise FormatError(path, f"format {facts['format']!r}, expected {FORMAT_NAME!r}")
    version = facts["format_version"] or 0
    if not 1 <= version <= FORMAT_VERSION:
        raise FormatError(
            path, f"format version {version}, and this tool reads up to {FORMAT_VERSION}: update it"
        )
    return version


def check_levels(path: Path, facts: FileFacts, file_bytes: int) -> list[int]:
    """Resolutions of the levels, largest first.

    Raises:
        FormatError: Levels are missing, do not fit each other, or hold more than the file can.
    """
    matches = [re.fullmatch(r"data([1-9]\d{0,8})x\1", name) for name in facts["levels"]]
    resolutions = sorted((int(match[1]) for match in matches if match), reverse=True)
    if not resolutions:
        raise FormatError(path, "no data sets named data<r>x<r>: not a pyramid of images")
    largest = resolutions[0]
    if largest > MAX_RESOLUTION:
        raise FormatError(path, f"{level_name(largest)}: at most {MAX_RESOLUTION} pixels are read")
    if largest & (largest - 1):
        raise FormatError(path, f"{level_name(largest)}: expected a power of two")
    complete = facts["format"] is not None
    expected = [r for r in level_resolutions(largest) if complete or r >= resolutions[-1]]
    if resolutions != expected:
        raise FormatError(path, f"levels {resolutions}, expected {expected}")

    first = facts["levels"][level_name(largest)]["shape"][:2]
    for r in resolutions:
        level = facts["levels"][level_name(r)]
        if level["dtype"] != "uint8" or len(level["shape"]) != 4:
            raise FormatError(
                path,
                f"{level_name(r)} is {tuple(level['shape'])} {level['dtype']}, "
                f"expected [N, C, {r}, {r}] uint8",
            )
        if level["shape"] != [*first, r, r]:
            raise FormatError(
                path, f"{level_name(r)} has shape {tuple(level['shape'])}, expected {(*first, r, r)}"
            )
        if prod(level["shape"]) > MAX_RATIO * file_bytes:
            raise FormatError(
                path, f"{level_name(r)} has shape {tuple(level['shape'])}, more than the file can hold"
            )
    return resolutions


def is_numeric(dtype: str) -> bool:
    """Whether NumPy's name of a type is that of a kind of number."""
    try:
        return np.dtype(dtype).kind in "biuf"
    except TypeError:
        return False
