import io

import cv2
import numpy as np
import pytest
from PIL import Image

from celebahq.errors import ToolError
from celebahq.pictures.encoding import encode_png, save_png

PICTURE = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)


@pytest.mark.parametrize(
    "picture", [PICTURE, PICTURE[..., :1], PICTURE.transpose(1, 0, 2), PICTURE[::2, ::-1]]
)
def test_another_library_reads_the_same_pixels(picture):
    found = np.asarray(Image.open(io.BytesIO(encode_png(picture))))
    np.testing.assert_array_equal(found.reshape(picture.shape), picture)


def test_the_same_pixels_give_the_same_bytes(tmp_path):
    save_png(tmp_path / "a.png", PICTURE)
    assert (tmp_path / "a.png").read_bytes() == encode_png(PICTURE.copy())
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_what_no_png_can_hold_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(ToolError, match=r"a\.png: 20x30 pixels are too many for a PNG"):
        save_png(tmp_path / "a.png", PICTURE)
    assert not list(tmp_path.iterdir())
