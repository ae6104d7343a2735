"""Which parts of a pyramid file are not what was written."""

import deflate

from celebahq.formats.checksums import structure_crc32
from celebahq.formats.chunks import StoredLevel
from celebahq.formats.levels import level_name
from celebahq.formats.pyramid_file import PyramidFile


def damaged_parts(file: PyramidFile) -> list[str]:
    """Names of levels, and `structure`, that have not the checksum that was written with them.

    Columns are held against theirs whenever they are read.

    Raises:
        FormatError: Images are missing.
    """
    damaged = []
    for resolution in file.levels:
        name = level_name(resolution)
        expected = file.facts["levels"][name]["crc32"]
        if expected is not None and _stored_crc32(file, file.located(resolution)[0]) != expected:
            damaged.append(name)
    has_checksum = (file.format_version or 0) >= 2  # or has lost it
    if has_checksum and file.facts["crc32"] != structure_crc32(file.facts):
        damaged.append("structure")
    return damaged


def _stored_crc32(file: PyramidFile, level: StoredLevel) -> int:
    """Of the chunks as they are stored, one after the other."""
    checksum = 0
    for offset, size in zip(level.offsets.tolist(), level.sizes.tolist(), strict=True):
        checksum = deflate.crc32(file.stored_bytes(offset, size), checksum)
    return checksum
