"""Images of a data set as they are stored, for another file: nothing is decoded and encoded again."""

from celebahq.errors import FormatError
from celebahq.formats.damage import damaged_parts
from celebahq.formats.levels import chunk_shape
from celebahq.formats.pyramid_reader import PyramidReader


def encoded_levels(reader: PyramidReader, index: int) -> list[bytes]:
    """One image as `PyramidWriter.append_encoded` takes it, where that writes with the same codec.

    Raises:
        FormatError: The file is not written as this toolkit writes.
    """
    return [_encoded(reader, index, resolution) for resolution in reader.levels]


def require_whole(reader: PyramidReader) -> None:
    """Read a data set through before its bytes go, with new checksums, into another.

    Raises:
        FormatError: Something is not what was written.
    """
    for file in reader.files:
        damaged = damaged_parts(file)
        if damaged:
            raise FormatError(
                file.path, f"not what was written: {', '.join(damaged)} (CRC-32); restore it, or make it anew"
            )


def _encoded(reader: PyramidReader, index: int, resolution: int) -> bytes:
    file, place = reader.place(index)
    level, _ = file.located(resolution)
    if level.chunk_shape != chunk_shape(resolution, reader.channels):
        raise FormatError(level.name, f"chunks of {level.chunk_shape}, not as this toolkit writes them")
    if level.chunk_shape[0] == 1:
        return file.stored_bytes(int(level.offsets[place]), int(level.sizes[place]))
    return reader.read([index], resolution).tobytes()
