import io

import cv2
import numpy as np
import pytest
from PIL import Image

from celebahq.errors import ToolError
from celebahq.pictures.encoding import encode_png, read_note, save_png

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


def test_a_note_is_read_back_and_changes_no_pixel(tmp_path):
    path = tmp_path / "a.png"
    save_png(path, PICTURE, note="made of a photo")
    assert read_note(path) == "made of a photo"
    with Image.open(path) as found:
        np.testing.assert_array_equal(np.asarray(found), PICTURE)
        assert found.text == {"Comment": "made of a photo"}
    noted = path.read_bytes()
    too_short = noted[:33] + bytes(4) + noted[37:]  # the chunk's length
    for other in (encode_png(PICTURE), b"", b"\xff" * 99, too_short):
        path.write_bytes(other)
        assert read_note(path) == ""
    assert read_note(tmp_path) == read_note(tmp_path / "missing.png") == ""


def test_what_no_png_can_hold_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(ToolError, match=r"a\.png: 20x30 pixels are too many for a PNG"):
        save_png(tmp_path / "a.png", PICTURE)
    assert not list(tmp_path.iterdir())
