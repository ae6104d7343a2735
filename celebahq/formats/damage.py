"""Which parts of a pyramid file are not what was written."""

import deflate

from celebahq.formats.checksums import structure_crc32
from celebahq.formats.chunks import StoredLevel
from celebahq.formats.levels import level_name
from celebahq.formats.pyramid_reader import PyramidReader


def damaged_parts(reader: PyramidReader) -> list[str]:
    """Names of levels, and `structure`, that have not the checksum that was written with them.

    Columns are held against theirs whenever they are read.

    Raises:
        FormatError: Images are missing.
    """
    damaged = []
    for resolution in reader.levels:
        name = level_name(resolution)
        expected = reader.facts["levels"][name]["crc32"]
        if expected is not None and _stored_crc32(reader, reader.located(resolution)[0]) != expected:
            damaged.append(name)
    has_checksum = (reader.format_version or 0) >= 2  # or has lost it
    if has_checksum and reader.facts["crc32"] != structure_crc32(reader.facts):
        damaged.append("structure")
    return damaged


def _stored_crc32(reader: PyramidReader, level: StoredLevel) -> int:
    """Of the chunks as they are stored, one after the other."""
    checksum = 0
    for offset, size in zip(level.offsets.tolist(), level.sizes.tolist(), strict=True):
        checksum = deflate.crc32(reader.stored_bytes(offset, size), checksum)
    return checksum
