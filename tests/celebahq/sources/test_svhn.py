import numpy as np
import pytest
from scipy.io import savemat

from celebahq.errors import FormatError
from celebahq.sources.data_set import ImportOptions
from celebahq.sources.svhn import Svhn

PARTIAL = ImportOptions(partial=True)


def test_ten_is_the_digit_zero(writers, tmp_path):
    layout = writers["svhn"](tmp_path / "svhn")
    images = Svhn(tmp_path / "svhn", layout.options)
    assert [images.read(i).label.argmax() for i in range(4)] == [0, 1, 9, 3]


@pytest.mark.parametrize(
    "content",
    [
        {"X": np.zeros((32, 32, 3, 2), np.uint8)},
        {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((3, 1))},
        {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.zeros((2, 1))},
        {"X": np.zeros((32, 32, 3, 2)), "y": np.ones((2, 1))},
        {"X": np.zeros((16, 32, 3, 2), np.uint8), "y": np.ones((2, 1))},
    ],
)
def test_other_contents_are_refused(tmp_path, content):
    savemat(tmp_path / "train_32x32.mat", content)
    with pytest.raises(FormatError, match=r"train_32x32\.mat: (not a \.mat file|X )"):
        Svhn(tmp_path, PARTIAL)


@pytest.mark.parametrize("data", [b"", b"no matlab" * 100])
def test_damaged_files_are_refused(tmp_path, data):
    (tmp_path / "train_32x32.mat").write_bytes(data)
    with pytest.raises(FormatError, match=r"not a \.mat file"):
        Svhn(tmp_path, PARTIAL)


def test_a_reader_that_crashes_is_one_line(writers, tmp_path):
    """Every first byte of y's numbers, among them types with which SciPy's reader ends the process."""
    writers["svhn"](tmp_path / "svhn")
    path = tmp_path / "svhn" / "train_32x32.mat"
    whole = path.read_bytes()
    place = whole.rindex(b"\x02\x00\x04\x00\x0a\x01\x09\x03")  # four numbers of type 2, uint8
    for kind in range(0, 256, 3):
        path.write_bytes(whole[:place] + bytes([kind]) + whole[place + 1 :])
        try:
            images = Svhn(tmp_path / "svhn", PARTIAL)
        except FormatError as err:
            assert str(err).startswith(f"{path}: ")  # noqa: PT017
            assert "\n" not in str(err)  # noqa: PT017
        else:
            assert [images.read(i).label.argmax() for i in range(4)] == [0, 1, 9, 3]
