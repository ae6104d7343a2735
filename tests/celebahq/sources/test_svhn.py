import numpy as np
import pytest
from scipy.io import savemat

from celebahq.errors import FormatError
from celebahq.sources.image_set import ImportOptions
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
