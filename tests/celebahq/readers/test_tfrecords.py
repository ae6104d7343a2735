import time

import numpy as np
import pytest

from celebahq.errors import FormatError
from celebahq.readers.tfrecords import (
    LENGTH,
    _delimited,
    _masked_crc,
    _varint,
    encode_record,
    read_image,
    scan_records,
)

# Two records of [3, 4, 4] images (0, 1, 2, ... and 1, 2, 3, ...) as TensorFlow 2.21 writes them
# (tf.io.TFRecordWriter, tf.train.Example serialized deterministically).
FROM_TENSORFLOW = bytes.fromhex(
    "520000000000000025eb07b70a500a3c0a046461746112340a320a30000102030405060708090a0b0c0d0e0f1011121314151617"
    "18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f0a100a05736861706512071a050a03030404d839885f520000000000"
    "000025eb07b70a500a3c0a046461746112340a320a300102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"
    "1f202122232425262728292a2b2c2d2e2f300a100a05736861706512071a050a03030404afa9ee65"
)

IMAGE = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)


def write_record(path, example):
    length = LENGTH.pack(len(example))
    path.write_bytes(length + _masked_crc(length) + example + _masked_crc(example))


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a.tfrecords").write_bytes(FROM_TENSORFLOW)
    return tmp_path / "a.tfrecords"


def test_writes_what_tensorflow_writes():
    assert encode_record(IMAGE) + encode_record(IMAGE + 1) == FROM_TENSORFLOW


def test_reads_what_tensorflow_writes(path):
    first, second = scan_records(path)
    np.testing.assert_array_equal(read_image(path, first), IMAGE)
    np.testing.assert_array_equal(read_image(path, second), IMAGE + 1)


def test_unpacked_shapes_are_read_too(tmp_path):
    # An int64 list may also be one field per number: 3, 4, 4 as 08 03, 08 04, 08 04.
    shape = _delimited(1, b"shape") + _delimited(2, _delimited(3, bytes.fromhex("080308040804")))
    data = _delimited(1, b"data") + _delimited(2, _delimited(1, _delimited(1, IMAGE.tobytes())))
    write_record(tmp_path / "b", _delimited(1, _delimited(1, shape) + _delimited(1, data)))
    np.testing.assert_array_equal(read_image(tmp_path / "b", *scan_records(tmp_path / "b")), IMAGE)


@pytest.mark.parametrize("length", range(1, 196, 12))
def test_a_file_cut_short_is_refused(path, length):
    path.write_bytes(FROM_TENSORFLOW[:length])
    with pytest.raises(FormatError, match=r"damaged|truncated"):
        scan_records(path)


@pytest.mark.parametrize("position", range(0, 98, 7))
def test_every_damaged_byte_is_noticed(path, position):
    data = bytearray(FROM_TENSORFLOW[:98])
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"a\.tfrecords: record"):
        read_image(path, scan_records(path)[0])


@pytest.mark.parametrize(
    "example", [FROM_TENSORFLOW[12:94].replace(b"shape", b"sharp"), b"", b"\xff" * 20, bytes(30)]
)
def test_other_examples_are_not_images(tmp_path, example):
    write_record(tmp_path / "b", example)
    with pytest.raises(FormatError, match="no image with the features 'shape' and 'data'"):
        read_image(tmp_path / "b", *scan_records(tmp_path / "b"))


def record(example: bytes) -> bytes:
    length = LENGTH.pack(len(example))
    return length + _masked_crc(length) + example + _masked_crc(example)


@pytest.mark.parametrize(
    "example", [b"\x0a" + b"\xff" * 2_000_000, b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x7f"]
)
def test_endless_numbers_end(tmp_path, example):
    (tmp_path / "a").write_bytes(record(example))
    start = time.process_time()
    with pytest.raises(FormatError, match="no image with the features"):
        read_image(tmp_path / "a", scan_records(tmp_path / "a")[0])
    assert time.process_time() - start < 30  # adding up two million parts of a number took minutes


@pytest.mark.parametrize("shape", [(), (3,), (3, 4, 4, 1), (1 << 62, 1 << 62, 1 << 62), (3, 4, 5)])
def test_shapes_that_are_no_image(tmp_path, shape):
    features = b"".join(
        _delimited(1, _delimited(1, name) + _delimited(2, feature))
        for name, feature in (
            (b"data", _delimited(1, _delimited(1, bytes(48)))),
            (b"shape", _delimited(3, _delimited(1, b"".join(map(_varint, shape))))),
        )
    )
    (tmp_path / "a").write_bytes(record(_delimited(1, features)))
    with pytest.raises(FormatError, match="are not an image of shape"):
        read_image(tmp_path / "a", scan_records(tmp_path / "a")[0])
