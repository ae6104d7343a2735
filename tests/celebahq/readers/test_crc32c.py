import numpy as np
import pytest

from celebahq.readers.crc32c import SHORT_BYTES, crc32c


@pytest.mark.parametrize(
    ("data", "expected"),  # RFC 3720, B.4, and the customary check value
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_published_values(data, expected):
    assert crc32c(data) == expected


@pytest.mark.parametrize("length", [511, 512, 513, 1000, 4096, 12289, 99_999])
def test_lanes_give_the_same_as_the_plain_loop(length, rng, monkeypatch):
    data = rng.bytes(length)
    in_lanes = crc32c(data)
    monkeypatch.setattr("celebahq.readers.crc32c.SHORT_BYTES", length + 1)
    assert crc32c(data) == in_lanes


def test_a_single_bit_shows(rng):
    data = np.frombuffer(rng.bytes(4 * SHORT_BYTES), np.uint8).copy()
    before = crc32c(data.tobytes())
    data[700] ^= 4
    assert crc32c(data.tobytes()) != before
