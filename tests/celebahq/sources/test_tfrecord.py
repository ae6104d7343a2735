import numpy as np
import pytest

from celebahq.errors import FormatError, ToolError
from celebahq.readers.tfrecords import encode_record
from celebahq.sources.data_set import ImportOptions
from celebahq.sources.tfrecord import TFRecords


@pytest.fixture
def path(writers, tmp_path):
    writers["tfrecord"](tmp_path / "set")
    return tmp_path / "set"


def test_the_largest_level_is_taken(path):
    assert TFRecords(path, ImportOptions()).resolution == 16


def test_labels_must_fit(path):
    with (path / "noise-rxx.labels").open("wb") as file:
        np.save(file, np.eye(4))
    with pytest.raises(FormatError, match=r"noise-rxx\.labels: \(4, 4\) float64, expected \[5, L\]"):
        TFRecords(path, ImportOptions())
    (path / "noise-rxx.labels").write_bytes(b"no array")
    with pytest.raises(FormatError, match="not an array of numbers"):
        TFRecords(path, ImportOptions())


def test_a_damaged_record_is_skipped_with_the_reason(path):
    file = path / "noise-r04.tfrecords"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    images = TFRecords(path, ImportOptions())
    images.read(0)
    with pytest.raises(FormatError, match=r"damaged \(CRC\)"):
        images.read(2)


def test_a_record_of_another_size_is_skipped(path):
    (path / "noise-r05.tfrecords").write_bytes(encode_record(np.zeros((3, 16, 16), np.uint8)) * 5)
    with pytest.raises(ToolError, match=r"\(3, 16, 16\), expected \(3, 32, 32\)"):
        TFRecords(path, ImportOptions()).read(0)


def test_other_paths(tmp_path):
    with pytest.raises(ToolError, match=r"no file NAME-rNN\.tfrecords"):
        TFRecords(tmp_path, ImportOptions())


@pytest.mark.parametrize("shape", [(4, 8, 8), (2, 8, 8)])
def test_other_channels_are_refused_at_the_start(tmp_path, shape):
    (tmp_path / "a-r03.tfrecords").write_bytes(encode_record(np.zeros(shape, np.uint8)))
    with pytest.raises(ToolError, match=rf"images of {shape[0]} channels; expected 3"):
        TFRecords(tmp_path, ImportOptions())


def test_a_level_beyond_measure_is_refused(tmp_path):
    (tmp_path / "a-r99.tfrecords").write_bytes(encode_record(np.zeros((3, 8, 8), np.uint8)))
    with pytest.raises(ToolError, match="99 levels, and at most 14"):
        TFRecords(tmp_path, ImportOptions())


@pytest.mark.parametrize("header", [b'{"""' + b" " * 114, b"{1:}", b"{(1,): 2, 'a': 3}", b"[" * 5000])
def test_labels_with_a_damaged_header(path, header):
    head = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    (path / "noise-rxx.labels").write_bytes(head + header)
    with pytest.raises(FormatError, match=r"noise-rxx\.labels: not an array of numbers"):
        TFRecords(path, ImportOptions())
