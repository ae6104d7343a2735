"""Every kind of file that turns up in photo folders is read as RGB or refused with its reason."""

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from celebahq import FormatError, MissingExtraError, ToolError
from celebahq.pictures import decoding
from celebahq.pictures.decoding import decode_photo, decode_picture, load_photo, picture_shape

rng = np.random.default_rng(0)
SMOOTH = np.asarray(Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((40, 30)))


def saved(folder, image, name="photo.png", **options):
    path = folder / name
    image.save(path, **options)
    return path


def test_lossless_rgb_comes_back_unchanged_and_writable(tmp_path):
    photo = load_photo(saved(tmp_path, Image.fromarray(SMOOTH)))
    np.testing.assert_array_equal(photo, SMOOTH)
    assert photo.flags.writeable


@pytest.mark.parametrize("orientation", range(10))
def test_orientation_is_applied_unless_told_not_to(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(SMOOTH), "photo.jpg", exif=exif, quality=95)
    stored = load_photo(path, orient=False)
    expected = {
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored, 1),
    }.get(orientation, stored)
    np.testing.assert_array_equal(load_photo(path), expected)


def test_the_same_scene_stored_in_four_orientations_looks_the_same(shared):
    photos = [load_photo(shared / "data" / "exif" / f"Landscape_{i}.jpg") for i in (1, 3, 6, 8)]
    for photo in photos[1:]:
        assert photo.shape == photos[0].shape
        assert (
            np.abs(photo.astype(int) - photos[0]).mean() < 6
        )  # each was compressed anew; a wrong turn gives 40


@pytest.mark.parametrize("damaged", [b"", b"\x00\x01", b"MM\x00*\xff\xff\xff\xff" + bytes(20)])
def test_a_damaged_exif_block_does_not_cost_the_picture(tmp_path, damaged):
    path = saved(tmp_path, Image.fromarray(SMOOTH), "photo.jpg", exif=b"Exif\x00\x00" + damaged, quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_photo(path).shape == SMOOTH.shape


@pytest.mark.parametrize(
    ("mode", "name", "tolerance"),
    [
        ("L", "photo.png", 0),
        ("L", "photo.jpg", 6),
        ("1", "photo.png", 0),
        ("1", "photo.tif", 0),
        ("P", "photo.png", 0),
        ("P", "photo.gif", 0),
        ("CMYK", "photo.tif", 1),
        ("CMYK", "photo.jpg", 12),
        ("YCbCr", "photo.jpg", 12),
        ("LAB", "photo.tif", 12),
    ],
)
def test_other_colour_modes_become_rgb(tmp_path, mode, name, tolerance):
    rgb = Image.fromarray(SMOOTH)
    if mode == "LAB":
        from PIL import ImageCms

        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(rgb, srgb, lab, outputMode="LAB")
        expected = rgb
    else:
        image = rgb.convert(mode)
        expected = image.convert("RGB")
    photo = load_photo(saved(tmp_path, image, name))
    assert photo.shape == SMOOTH.shape
    assert np.abs(photo.astype(int) - np.asarray(expected)).mean() <= tolerance


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("name", ["photo.png", "photo.webp"])
def test_transparency_is_laid_over_white(tmp_path, mode, name):
    image = Image.fromarray(SMOOTH).convert(mode)
    alpha = Image.fromarray(np.where(np.arange(40) < 20, 0, 255).astype(np.uint8)[None].repeat(30, axis=0))
    image.putalpha(alpha)
    photo = load_photo(saved(tmp_path, image, name, **({"lossless": True} if "webp" in name else {})))
    assert (photo[:, :20] == 255).all()
    np.testing.assert_array_equal(photo[:, 20:], np.asarray(image.convert("RGB"))[:, 20:])


def test_half_transparent_black_is_grey(tmp_path):
    photo = load_photo(saved(tmp_path, Image.new("RGBA", (4, 4), (0, 0, 0, 128))))
    assert (photo == 127).all()


def test_a_transparent_palette_colour_is_white(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 10, 20])
    image.putpixel((0, 0), 0)
    photo = load_photo(saved(tmp_path, image, transparency=0))
    assert tuple(photo[0, 0]) == (255, 255, 255)
    assert tuple(photo[3, 3]) == (200, 10, 20)


@pytest.mark.parametrize("name", ["photo.png", "photo.tif"])
def test_16_bit_grey_is_scaled_to_8_bits(tmp_path, name):
    values = np.array([[0, 257, 128, 129, 65535, 40 * 257]], np.uint16)
    photo = load_photo(saved(tmp_path, Image.fromarray(values), name))
    assert photo[0, :, 0].tolist() == [0, 1, 0, 1, 255, 40]
    assert photo.shape == (1, 6, 3)


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, bit_depth, colour_type, rows):
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


DEEP = np.random.default_rng(3).integers(0, 65536, (256, 256, 4), np.uint16)
DEEP[0, 0] = 0
DEEP[0, 1] = 65535
DEEP[0, 2, :3] = 128  # 0.498 of a step: to 0
DEEP[0, 3, :3] = 129  # 0.502: to 1
OPAQUE = np.dstack([DEEP[..., :3], np.full((256, 256), 65535, np.uint16)])


def deep_file(kind, channels=OPAQUE):
    """A picture of 16 bits per channel, written by another library than the one that is tested."""
    if kind == "ppm":
        return b"P6 256 256 65535\n" + channels[..., :3].astype(">u2").tobytes()
    if kind == "grey+alpha.png":
        rows = np.ascontiguousarray(channels[..., [0, 3]].astype(">u2")).reshape(256, -1)
        return png(256, 256, 16, 4, b"".join(b"\0" + row.tobytes() for row in rows))
    if kind == "rgba.png":
        rows = np.ascontiguousarray(channels.astype(">u2")).reshape(256, -1)
        return png(256, 256, 16, 6, b"".join(b"\0" + row.tobytes() for row in rows))
    return cv2.imencode(f".{kind}", np.ascontiguousarray(channels[..., 2::-1]))[1].tobytes()


@pytest.mark.parametrize("kind", ["png", "tif", "ppm", "jp2", "rgba.png", "grey+alpha.png"])
def test_16_bits_are_scaled_and_rounded_in_every_format_and_colour(kind):
    photo = decode_photo(io.BytesIO(deep_file(kind)), kind)
    expected = np.rint(OPAQUE / 257)[..., [0, 0, 0] if "grey" in kind else [0, 1, 2]]
    if kind != "jp2":
        np.testing.assert_array_equal(photo, expected)
    else:  # lossy, but all the same not darker: cutting would cost half a step
        assert abs((photo - expected).mean()) < 0.1


def test_transparency_of_16_bits_is_laid_over_white():
    photo = decode_photo(io.BytesIO(deep_file("rgba.png", DEEP)), "x.png")
    opacity = DEEP[..., 3:] / 65535
    expected = DEEP[..., :3] / 257 * opacity + 255 * (1 - opacity)
    assert np.abs(photo - expected).max() < 1.6  # colour, opacity and their product are each rounded


@pytest.mark.parametrize("kind", ["png", "tif", "ppm", "jp2", "rgba.png", "grey+alpha.png", "grey"])
def test_more_than_8_bits_can_be_refused_with_or_without_decoding(kind, tmp_path):
    data = deep_file(kind) if kind != "grey" else saved(tmp_path, Image.fromarray(DEEP[..., 0])).read_bytes()
    for read in (decode_picture, picture_shape):
        with pytest.raises(FormatError, match=r"^x: 16 bits per channel; convert it to 8"):
            read(io.BytesIO(data), "x", deep="refuse")


def test_transparency_can_be_refused(tmp_path):
    clear, opaque = Image.new("RGBA", (4, 4), (1, 2, 3, 254)), Image.new("RGBA", (4, 4), (1, 2, 3, 255))
    with saved(tmp_path, opaque).open("rb") as file:
        assert decode_picture(file, "x", alpha="refuse")[0, 0].tolist() == [1, 2, 3]
    with saved(tmp_path, clear).open("rb") as file, pytest.raises(FormatError, match=r"^x: partly"):
        decode_picture(file, "x", alpha="refuse")


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("I;16", 1), ("RGB", 3), ("P", 3)]
)
def test_grey_pictures_have_one_channel_unless_a_photo_is_asked_for(tmp_path, mode, channels):
    image = Image.new("L", (5, 4), 255).convert(mode)
    path = saved(tmp_path, image)
    with path.open("rb") as file:
        assert picture_shape(file, "x") == (channels, 4, 5)
        file.seek(0)
        assert decode_picture(file, "x").shape == (4, 5, channels)
    assert load_photo(path).shape == (4, 5, 3)


def test_pillows_settings_are_as_before_after_decoding_in_many_threads(tmp_path):
    path = saved(tmp_path, Image.fromarray(SMOOTH))
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(load_photo, [path] * 200))) == 200
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_importing_the_module_leaves_the_warning_filters_alone():
    code = "import warnings, PIL.Image, numpy; before = list(warnings.filters)\n"
    code += "import celebahq.pictures.decoding; assert list(warnings.filters) == before, warnings.filters"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_floating_point_pictures_are_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.ones((3, 3), np.float32)), "photo.tif")
    with pytest.raises(FormatError, match="floating-point"):
        load_photo(path)


def test_progressive_jpeg_equals_its_baseline(tmp_path):
    image = Image.fromarray(SMOOTH)
    baseline = load_photo(saved(tmp_path, image, "a.jpg", quality=90))
    progressive = load_photo(saved(tmp_path, image, "b.jpg", quality=90, progressive=True))
    np.testing.assert_array_equal(baseline, progressive)


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_the_contents_decide_not_the_name(tmp_path, format_name):
    path = saved(tmp_path, Image.fromarray(SMOOTH), "photo.jpg", format=format_name)
    assert load_photo(path).shape == SMOOTH.shape


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.webp", "photo.tif", "photo.bmp"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_truncated_files_are_refused_in_one_line(tmp_path, name, share):
    path = saved(tmp_path, Image.fromarray(rng.integers(0, 256, (200, 300, 3), np.uint8)), name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FormatError) as error:
        load_photo(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_empty_files_and_other_files_are_refused(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="an empty file"):
        load_photo(path)
    path.write_text("no picture")
    with pytest.raises(FormatError, match="not a picture"):
        load_photo(path)
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(FormatError, match="not a picture"):
        load_photo(path)
    with pytest.raises(ToolError, match="No such file"):
        load_photo(tmp_path / "absent.jpg")
    with pytest.raises(ToolError, match="a directory, not a file"):
        load_photo(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ToolError, match="a pipe or device, not a file"):
        load_photo(tmp_path / "pipe.jpg")


@pytest.mark.parametrize("side", [20_000, 400_000])
def test_decompression_bombs_are_refused_from_their_header(tmp_path, side):
    path = tmp_path / "photo.png"
    path.write_bytes(png(side, side, 8, 2, b"\0" * 1000))
    with pytest.raises(ToolError, match=r"at most 134,217,728 are decoded; scale it down first$"):
        load_photo(path)


def test_the_limit_can_be_moved_and_pillows_own_stays_as_it_was(tmp_path):
    path = saved(tmp_path, Image.fromarray(SMOOTH))
    before = Image.MAX_IMAGE_PIXELS
    assert load_photo(path, max_pixels=1200).shape == SMOOTH.shape
    with pytest.raises(ToolError, match="40x30 pixels"):
        load_photo(path, max_pixels=1199)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (1, 1)])
def test_pictures_one_pixel_wide_are_read(tmp_path, size):
    assert load_photo(saved(tmp_path, Image.new("RGB", size, (1, 2, 3)))).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("seed", range(60))
def test_random_damage_gives_an_array_or_one_clear_line(tmp_path, seed):
    chance = np.random.default_rng(seed)
    name = ["a.jpg", "a.png", "a.webp", "a.tif", "a.gif", "a.bmp"][seed % 6]
    buffer = io.BytesIO()
    Image.fromarray(SMOOTH).save(buffer, format=Image.registered_extensions()[f".{name[2:]}"])
    content = np.frombuffer(buffer.getvalue(), np.uint8).copy()
    # Beside single bytes anywhere, the header, where sizes and offsets stand.
    for stop in (len(content), 64):
        content[chance.integers(2, stop, 4)] = chance.integers(0, 256, 4)
    path = tmp_path / name
    path.write_bytes(content.tobytes())
    message, photo = "", np.empty((0, 0, 3), np.uint8)
    try:
        photo = load_photo(path, max_pixels=10_000_000)
    except ToolError as error:
        message = str(error)
    if message:
        assert str(path) in message
        assert "\n" not in message
    else:
        assert photo.shape[2] == 3
        assert photo.size > 0


def test_heic_is_read_with_its_extra_and_says_so_without(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    pillow_heif.from_pillow(Image.fromarray(smooth)).save(tmp_path / "a.heic", quality=90)
    # The format is lossy: a few grey levels on a smooth picture.
    assert np.abs(load_photo(tmp_path / "a.heic").astype(int) - smooth).mean() < 6
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF")
    decoding._known_formats.cache_clear()
    try:
        with pytest.raises(MissingExtraError, match=r"a\.heic: decoding HEIC needs .*toolkit\[heif\]"):
            load_photo(tmp_path / "a.heic")
    finally:
        decoding._known_formats.cache_clear()
