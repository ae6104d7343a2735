"""Decoding as IJG libjpeg 8d does, whichever decoder is used."""

import sys
from concurrent.futures import ThreadPoolExecutor

import jpeglib
import numpy as np
import pytest
import skimage.data
from PIL import Image

from celebahq.errors import FormatError, MissingExtraError, ToolError
from celebahq.legacy import jpeg
from celebahq.legacy.jpeg import decode_jpeg


@pytest.fixture(scope="module")
def picture():
    return Image.fromarray(skimage.data.astronaut()[:201, 100:333])  # neither side a multiple of 16


def save(picture, path, **form):
    picture.save(path, "JPEG", **{"quality": 80, **form})
    return path


def ijg(path):
    jpeglib.version.set("8d")
    return jpeglib.read_spatial(str(path)).spatial


@pytest.mark.parametrize("form", [{}, {"progressive": True}, {"quality": 30}, {"quality": 100}])
def test_full_chroma_and_grey_are_the_same_with_pillow(tmp_path, picture, monkeypatch, form):
    color = save(picture, tmp_path / "color.jpg", subsampling="4:4:4", **form)
    grey = save(picture.convert("L"), tmp_path / "grey.jpg", **form)
    color_pixels, grey_pixels = ijg(color), ijg(grey)
    monkeypatch.setitem(sys.modules, "jpeglib", None)  # not installed
    np.testing.assert_array_equal(decode_jpeg(color), color_pixels)
    np.testing.assert_array_equal(decode_jpeg(grey), np.repeat(grey_pixels, 3, axis=2))


@pytest.mark.parametrize("form", [{"subsampling": "4:2:0"}, {"subsampling": "4:2:2", "progressive": True}])
def test_subsampled_chroma_is_decoded_by_ijg(tmp_path, picture, form):
    path = save(picture, tmp_path / "photo.jpg", **form)
    pixels = decode_jpeg(path)
    np.testing.assert_array_equal(pixels, ijg(path))
    with Image.open(path) as theirs:
        assert np.abs(np.asarray(theirs).astype(int) - pixels).max() > 5  # why it is not left to Pillow


def test_another_version_chosen_elsewhere_does_not_show(tmp_path, picture):
    path = save(picture, tmp_path / "photo.jpg", subsampling="4:2:0")
    expected = ijg(path)
    jpeglib.version.set("6b")
    np.testing.assert_array_equal(decode_jpeg(path), expected)


def test_threads_get_their_own_pixels(tmp_path, picture):
    paths = [
        save(picture.rotate(90 * i), tmp_path / f"{i}.jpg", subsampling="4:2:0", comment=b"x" * 5000 * i)
        for i in range(4)
    ]
    expected = [ijg(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        for pixels, path in zip(pool.map(decode_jpeg, paths * 5), paths * 5, strict=True):
            np.testing.assert_array_equal(pixels, expected[paths.index(path)])


def test_without_jpeglib_the_remedy_is_said(tmp_path, picture, monkeypatch):
    path = save(picture, tmp_path / "photo.jpg", subsampling="4:2:0")
    monkeypatch.setitem(sys.modules, "jpeglib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'celebahq-toolkit\[reconstruct\]'"):
        decode_jpeg(path)


def test_orientation_is_ignored(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = save(picture, tmp_path / "turned.jpg", subsampling="4:4:4", exif=exif)
    upright = save(picture, tmp_path / "upright.jpg", subsampling="4:4:4")
    np.testing.assert_array_equal(decode_jpeg(turned), decode_jpeg(upright))


def test_what_is_no_whole_jpeg_is_refused(tmp_path, picture):
    whole = save(picture, tmp_path / "whole.jpg", subsampling="4:2:0").read_bytes()
    cases = {
        "empty.jpg": (b"", "not a JPEG file"),
        "text.jpg": (b"hello", "not a JPEG file"),
        "truncated.jpg": (whole[: len(whole) // 2], "a damaged JPEG"),
        "many_markers.jpg": (
            whole[:2] + b"\xff\xfe\x00\x04ab" * 80 + whole[2:],
            "IJG libjpeg 8d cannot decode it",
        ),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match=f"{name}: {reason}"):
            decode_jpeg(tmp_path / name)
    picture.save(tmp_path / "png.jpg", "PNG")
    with pytest.raises(FormatError, match=r"png\.jpg: not a JPEG file"):
        decode_jpeg(tmp_path / "png.jpg")
    save(picture.convert("CMYK"), tmp_path / "cmyk.jpg")
    with pytest.raises(FormatError, match=r"cmyk\.jpg: a JPEG in CMYK"):
        decode_jpeg(tmp_path / "cmyk.jpg")
    with pytest.raises(ToolError, match=r"none\.jpg: no such file"):
        decode_jpeg(tmp_path / "none.jpg")


def test_pictures_larger_than_any_photo_of_celeba_are_refused(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(jpeg, "MAX_PIXELS", 1000)
    with pytest.raises(ToolError, match="233x201 pixels, more than any photo of CelebA"):
        decode_jpeg(save(picture, tmp_path / "photo.jpg"))
