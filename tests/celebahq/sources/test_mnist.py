import gzip
import struct

import numpy as np
import pytest

from celebahq.errors import FormatError, ToolError
from celebahq.sources.data_set import ImportOptions
from celebahq.sources.mnist import Mnist, MnistRgb, read_idx


def test_real_files(shared):
    images = Mnist(shared / "data" / "formats" / "mnist", ImportOptions(split="test"))
    assert len(images) == 10_000
    first = images.read(0)
    assert first.label.argmax() == 7  # the test set's first digits are 7, 2, 1, 0, 4
    assert [images.read(i).label.argmax() for i in range(1, 5)] == [2, 1, 0, 4]
    assert first.image.shape == (1, 32, 32)
    assert not first.image[:, :2].any()
    assert not first.image[:, :, -2:].any()
    assert first.image.max() > 200


def test_triples_name_their_digits(writers, tmp_path):
    layout = writers["mnist-rgb"](tmp_path / "digits")
    images = MnistRgb(tmp_path / "digits", layout.options)
    images.load()
    grey = Mnist(tmp_path / "digits", layout.options)
    for i in range(20):
        classes = images.read(i).meta["digits"]
        numbers = [int(number) for number in images.image_name(i).split("/")[1].split(",")]
        assert [grey.read(number).label.argmax() for number in numbers] == classes.tolist()


def test_without_the_files_their_origin_is_said(tmp_path):
    with pytest.raises(ToolError, match=r"train-images-idx3-ubyte\.gz: not found; four files \(12 MB\)"):
        Mnist(tmp_path, ImportOptions())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a complete idx"),
        (b"no gzip", "not a complete idx"),
        (gzip.compress(bytes.fromhex("00000801 00000002"))[:-9], "not a complete idx"),
        (gzip.compress(bytes.fromhex("00000d01 00000002") + bytes(8)), "magic number"),
        (gzip.compress(bytes.fromhex("00000801 00000009") + bytes(8)), "8 bytes for an array"),
    ],
    ids=["empty", "text", "cut short", "floats", "too few bytes"],
)
def test_damaged_files_are_named(tmp_path, content, message):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(FormatError, match=rf"a\.gz: .*{message}"):
        read_idx(tmp_path / "a.gz", 1)


def test_no_flipped_bit_is_imported_in_silence(writers, tmp_path, rng):
    writers["mnist"](tmp_path / "digits")
    path = tmp_path / "digits" / "t10k-images-idx3-ubyte.gz"
    whole, digits = path.read_bytes(), read_idx(path, 3)
    silent = 0
    for bit in rng.choice(8 * len(whole), 300, replace=False):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            found = read_idx(path, 3)
        except FormatError:
            continue
        np.testing.assert_array_equal(found, digits)  # the time stamp and the like in gzip's header
        silent += 1
    assert silent < 10


@pytest.mark.parametrize(
    ("head", "size", "message"),
    [
        ((0x803, 1 << 31, 1 << 31, 1 << 31), 0, "an array of 9,903,520,314,283,042,199,192,993,792 bytes"),
        ((0x803, 1 << 20, 1 << 10, 1 << 10), 0, "an array of 1,099,511,627,776 bytes"),
        ((0x803, 3, 28, 28), 3 * 784 + 1, r"goes on after an array \(3, 28, 28\)"),
    ],
)
def test_sizes_are_checked_before_memory_is_taken(tmp_path, head, size, message):
    (tmp_path / "a.gz").write_bytes(gzip.compress(struct.pack(">4I", *head) + bytes(size)))
    with pytest.raises(FormatError, match=message):
        read_idx(tmp_path / "a.gz", 3)


def test_another_file_than_the_published_is_said(writers, tmp_path, caplog):
    layout = writers["mnist"](tmp_path / "digits")
    Mnist(tmp_path / "digits", layout.options)
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(" (MD5 ")[0] for line in said] == [
        f"{tmp_path}/digits/t10k-{kind}-ubyte.gz: not the published file"
        for kind in ("images-idx3", "labels-idx1")
    ]


def test_images_and_labels_must_fit(writers, tmp_path):
    layout = writers["mnist"](tmp_path / "digits")
    labels = gzip.compress(bytes.fromhex("00000801 00000003") + bytes([1, 2, 3]))
    (tmp_path / "digits" / "t10k-labels-idx1-ubyte.gz").write_bytes(labels)
    with pytest.raises(FormatError, match=r"\(12, 28, 28\), with labels \(3,\)"):
        Mnist(tmp_path / "digits", layout.options)


def test_idx_is_big_endian(tmp_path):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    head = bytes.fromhex("00000802 00000002 00000003")
    (tmp_path / "a.gz").write_bytes(gzip.compress(head + array.tobytes()))
    np.testing.assert_array_equal(read_idx(tmp_path / "a.gz", 2), array)
