"""TFRecord files of images, written and read without TensorFlow.

A file is a sequence of records: length u64, masked CRC-32C of the length, data, masked CRC-32C of the data,
little-endian. The data are a `tf.train.Example` (protocol buffers) with the features `shape`, three int64
C, H, W, and `data`, the pixels, as the TensorFlow version of progressive GAN training reads them.
"""

import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError
from celebahq.readers.crc32c import crc32c

LENGTH, CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
VARINT, DELIMITED = 0, 2  # wire types of protocol buffers
MAX_VARINT_BITS = 70  # ten bytes of seven
MAX_RECORD_BYTES = 1 << 30


class Place(NamedTuple):
    """Where the data of a record lie."""

    offset: int
    size: int


def encode_record(image: NDArray[np.uint8]) -> bytes:
    """One record with an image `[C, H, W]` uint8."""
    features = b"".join(
        _delimited(1, _delimited(1, name.encode()) + _delimited(2, feature))
        for name, feature in (
            ("data", _delimited(1, _delimited(1, image.tobytes()))),
            ("shape", _delimited(3, _delimited(1, b"".join(map(_varint, image.shape))))),
        )
    )
    example = _delimited(1, features)
    length = LENGTH.pack(len(example))
    return length + _masked_crc(length) + example + _masked_crc(example)


def scan_records(path: Path) -> list[Place]:
    """Find the records of a file; their data are not read.

    Raises:
        FormatError: A length is damaged, or the last record is cut short.
    """
    places: list[Place] = []
    size = path.stat().st_size
    with path.open("rb") as file:
        offset = 0
        while offset < size:
            head = file.read(LENGTH.size + CHECKSUM.size)
            length, checksum = head[: LENGTH.size], head[LENGTH.size :]
            if len(checksum) < CHECKSUM.size or checksum != _masked_crc(length):
                raise FormatError(path, f"record {len(places)}: its length is damaged; not a TFRecord file?")
            place = Place(offset + len(head), *LENGTH.unpack(length))
            offset = place.offset + place.size + CHECKSUM.size
            if offset > size:
                raise FormatError(path, f"record {len(places)} is cut short: the file is truncated")
            places.append(place)
            file.seek(offset)
    return places


def read_image(path: Path, place: Place) -> NDArray[np.uint8]:
    """The image `[C, H, W]` uint8 of one record.

    Raises:
        FormatError: The checksum is wrong, or it is no image.
    """
    where = f"{path}: record at byte {place.offset:,}"
    if place.size > MAX_RECORD_BYTES:
        raise FormatError(where, f"{place.size:,} bytes, and at most {MAX_RECORD_BYTES:,} are read")
    with path.open("rb") as file:
        file.seek(place.offset)
        example = file.read(place.size)
        checksum = file.read(CHECKSUM.size)
    if checksum != _masked_crc(example):
        raise FormatError(where, "damaged (CRC)")
    try:
        features = _features(example)
        shape = _int64s(features[b"shape"])
        pixels = np.frombuffer(_only(_only(features[b"data"], 1), 1), np.uint8)
        if len(shape) != 3 or prod(shape) != pixels.size:
            raise ValueError(f"{pixels.size:,} bytes are not an image of shape {shape[:4]}")
        return pixels.reshape(shape)
    except (ValueError, KeyError, IndexError) as err:
        raise FormatError(where, f"no image with the features 'shape' and 'data' ({err})") from err


def _masked_crc(data: bytes) -> bytes:
    """The checksum as TFRecord stores it: rotated by 15 bits plus a constant."""
    crc = crc32c(data)
    return CHECKSUM.pack((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _features(example: bytes) -> dict[bytes, bytes]:
    """Name -> encoded Feature of a tf.train.Example."""
    entries = [value for _, value in _fields(_only(example, 1))]
    return {_only(entry, 1): _only(entry, 2) for entry in entries}


def _int64s(feature: bytes) -> list[int]:
    """The numbers of an Int64List, packed into one field or a field each."""
    numbers: list[int] = []
    for _, value in _fields(_only(feature, 3)):
        position = 0
        while position < len(value):
            number, position = _read_varint(value, position)
            numbers.append(number)
    return numbers


def _only(message: bytes, number: int) -> bytes:
    """The one field of that number."""
    values = [value for found, value in _fields(message) if found == number]
    if len(values) != 1:
        raise ValueError(f"{len(values)} fields of number {number}")
    return values[0]


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and value of each field; a varint's value is its encoding."""
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        end = position
        if key & 7 == VARINT:
            _, end = _read_varint(message, position)
        elif key & 7 == DELIMITED:
            length, position = _read_varint(message, position)
            end = position + length
        else:
            raise ValueError(f"wire type {key & 7}")
        if end > len(message):
            raise ValueError("a field is cut short")
        yield key >> 3, message[position:end]
        position = end


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    """A number, and the position after it."""
    number = shift = 0
    while shift < MAX_VARINT_BITS:
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
    raise ValueError("a number of more than 64 bits")


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _delimited(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | DELIMITED) + _varint(len(value)) + value
