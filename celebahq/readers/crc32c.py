"""CRC-32C (Castagnoli), the checksum of TFRecord files.

The register of a CRC is linear over GF(2). A long message is therefore cut into equal lanes that NumPy feeds
all at once, two bytes per step; the lanes' registers are then combined by the operator "feed n zero bytes".
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = np.uint32(0x82F63B78)  # bits reversed
ALL_ONES = 0xFFFFFFFF
SHORT_BYTES = 512
"""Below this length the plain loop is faster."""


def crc32c(data: bytes) -> int:
    """CRC-32C of `data`."""
    register = _feed(ALL_ONES, data) if len(data) < SHORT_BYTES else _feed_lanes(ALL_ONES, data)
    return register ^ ALL_ONES


def _feed(register: int, data: bytes) -> int:
    table = _byte_table()
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register


def _feed_lanes(register: int, data: bytes) -> int:
    # About as many lanes as steps; zeros in front do not change a register that starts as zero.
    lanes = 1 << ((len(data) // 2).bit_length() // 2 + 1)
    steps = -(-len(data) // (2 * lanes))
    padding = bytes(2 * lanes * steps - len(data))
    columns = np.frombuffer(padding + data, "<u2").reshape(lanes, steps).T.astype(np.uint32)

    registers = np.zeros(lanes, np.uint32)
    table = _two_byte_table()
    for column in columns:
        registers = table[(registers ^ column) & 0xFFFF] ^ (registers >> 16)
    length = 2 * steps
    while len(registers) > 1:
        registers = _apply(_zeros_operator(length), registers[0::2]) ^ registers[1::2]
        length *= 2
    start = _apply(_zeros_operator(len(data)), np.array([register], np.uint32))
    return int(registers[0] ^ start[0])


def _feed_zero_bits(registers: NDArray[Any], count: int) -> NDArray[np.uint32]:
    for _ in range(count):
        registers = (registers >> 1) ^ np.where(registers & 1, POLYNOMIAL, np.uint32(0))
    return registers


@lru_cache(maxsize=1)
def _byte_table() -> list[int]:
    """Register after one byte, for each value of its low 8 bits."""
    table: list[int] = _feed_zero_bits(np.arange(1 << 8, dtype=np.uint32), 8).tolist()
    return table


@lru_cache(maxsize=1)
def _two_byte_table() -> NDArray[np.uint32]:
    """Register after two bytes, for each value of its low 16 bits: `[65536]` uint32."""
    return _feed_zero_bits(np.arange(1 << 16, dtype=np.uint32), 16)


@lru_cache(maxsize=256)
def _zeros_operator(count: int) -> NDArray[np.uint32]:
    """Columns `[32]` uint32 of the linear operator "feed `count` zero bytes"."""
    result = np.uint32(1) << np.arange(32, dtype=np.uint32)  # identity
    power = _feed_zero_bits(result, 8)
    while count:
        if count & 1:
            result = _apply(power, result)
        power = _apply(power, power)
        count >>= 1
    return result


def _apply(operator: NDArray[Any], registers: NDArray[Any]) -> NDArray[np.uint32]:
    """XOR of the operator's columns at the bits that are set."""
    bits = (registers[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    applied: NDArray[Any] = np.bitwise_xor.reduce(np.where(bits == 1, operator, np.uint32(0)), axis=1)
    return applied
