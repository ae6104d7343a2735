import errno
import io
import os
import warnings
import zipfile
from unittest.mock import Mock

import cv2
import h5py
import numpy as np
import pytest
from PIL import Image

from celebahq.errors import FormatError, ToolError
from celebahq.pyramid import MANIFEST, Manifest, Part, PyramidReader, PyramidWriter, write_manifest
from swd.pipeline.sources import fit, open_images
from swd.protocol_choice import choose_protocol


@pytest.mark.parametrize("form", ["folder", "zip", "h5", "npy", "npz"])
def test_every_form_gives_the_same_images_in_the_same_order(reals, form):
    images = open_images(getattr(reals, form))
    assert len(images) == 24
    assert images.shapes(range(5)) == {(3, 32, 32): 5}
    np.testing.assert_array_equal(images.read([3, 0, 20, 3], 32), reals.images[[3, 0, 20, 3]])


@pytest.mark.parametrize("form", ["folder", "zip", "h5", "npy", "npz"])
def test_every_form_is_reduced_alike(reals, form):
    # 24 px is no power-of-two reduction: Lanczos, channel by channel.
    images = open_images(getattr(reals, form))
    for resolution in (16, 24):
        expected = np.stack([fit(image, resolution) for image in reals.images[:3]])
        np.testing.assert_array_equal(images.read([0, 1, 2], resolution), expected)


@pytest.mark.parametrize("name", ["", MANIFEST])
def test_several_files_are_the_images_of_the_one(reals, tmp_path, name):
    parts = []
    for number, some in enumerate(np.split(reals.images, [5, 6])):
        with PyramidWriter(tmp_path / f"{number}.h5", 32) as writer:
            writer.append(some)
        parts.append(Part.of(tmp_path / f"{number}.h5"))
    write_manifest(Manifest(tmp_path / MANIFEST, {}, tuple(parts)))
    images = open_images(tmp_path / name)
    assert len(images) == 24
    np.testing.assert_array_equal(images.read([3, 0, 20, 3, 5], 32), reals.images[[3, 0, 20, 3, 5]])


def test_box_filter_equals_the_original(golden):
    data = golden("swd_ops")
    for lod in range(4):
        # Its images are 32x48: cut to squares.
        for image, expected in zip(data["ds_in"][:, :, :, :32], data[f"ds_lod{lod}"], strict=True):
            size = 32 >> lod
            np.testing.assert_array_equal(fit(np.ascontiguousarray(image), size), expected[:, :, :size])


def test_box_filter_equals_the_pyramid_file(reals):
    expected = PyramidReader(reals.h5).read([5], 16)[0]
    np.testing.assert_array_equal(fit(reals.images[5], 16), expected)


def test_names_are_sorted_as_bytes_and_hidden_files_left_out(tmp_path):
    for shade, name in enumerate(["Z.png", "a.png", "é.png", "sub/x.png", ".hidden.png", "sub/.y/z.png"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), shade).save(path)
    (tmp_path / "notes.txt").write_text("")
    images = open_images(tmp_path)
    assert images.read(range(len(images)), 16)[:, 0, 0, 0].tolist() == [0, 1, 3, 2]


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("RGB", 3), ("P", 3), ("RGBA", 3), ("LA", 1), ("CMYK", 3)]
)
def test_pixel_modes(tmp_path, mode, channels):
    Image.new("RGB", (16, 16), (255, 255, 255)).convert(mode).save(tmp_path / "x.tiff")
    images = open_images(tmp_path)
    assert images.shapes([0]) == {(channels, 16, 16): 1}
    pixels = images.read([0], 16)
    assert pixels.shape == (1, channels, 16, 16)
    assert (pixels == 255).all()


def test_exif_orientation_is_applied(tmp_path):
    picture = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    exif = Image.Exif()
    exif[0x0112] = 3
    picture.save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(open_images(tmp_path).read([0], 16)[0, 0], np.asarray(picture)[::-1, ::-1])


def truncated(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-500])


def transparent(path):
    Image.new("RGBA", (16, 16), (1, 2, 3, 100)).save(path)


def transparent_palette(path):
    picture = Image.new("P", (16, 16), 1)
    picture.putpalette([0, 0, 0, 9, 9, 9])
    picture.save(path, transparency=1)


def transparent_colour(path):
    Image.new("RGB", (16, 16), (1, 2, 3)).save(path, transparency=(1, 2, 3))


def deep(path):
    Image.fromarray(np.zeros((16, 16), np.uint16)).save(path)


def deep_colours(path):
    cv2.imwrite(str(path), np.zeros((16, 16, 3), np.uint16))


def text(path):
    path.write_text("no picture")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (truncated, "cannot be decoded"),
        (transparent, "partly transparent"),
        (transparent_palette, "partly transparent"),
        (transparent_colour, "partly transparent"),
        (deep, "8 bits per channel"),
        (deep_colours, "8 bits per channel"),
        (text, "not a picture of a known format"),
        (lambda path: path.symlink_to("nowhere"), "No such file"),
        (os.mkfifo, "pipe"),
    ],
)
def test_a_bad_image_is_named_with_the_reason(tmp_path, write, reason):
    write(tmp_path / "bad.png")
    with pytest.raises(ToolError, match=rf"bad\.png: .*{reason}"):
        open_images(tmp_path).read([0], 16)


def test_a_damaged_zip_entry_is_named(tmp_path):
    path = tmp_path / "x.zip"
    truncated(tmp_path / "x.png")
    picture = Image.new("RGB", (64, 64))
    with zipfile.ZipFile(path, "w") as archive, archive.open("good.png", "w") as file:
        picture.save(file, "png")
    data = bytearray(path.read_bytes())
    data[60:70] = bytes(10)
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"x\.zip/good\.png"):
        open_images(path).read([0], 16)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.zip", b"no zip", "not a zip, or damaged"),
        ("x.npy", b"no array", "not an array of numbers"),
        ("x.npz", b"no array", "not a zip, or damaged"),
        ("x.h5", b"no hdf5", "not a readable HDF5 file"),
        ("x.txt", b"", "not a set of images"),
        ("x.safetensors", b"", "can only stand for the reals"),
        (".", b"", "no pictures in it"),
    ],
)
def test_what_is_no_set_of_images_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if name != ".":
        path.write_bytes(content)
    with pytest.raises(ToolError, match=message):
        open_images(path)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(ToolError, match="no such file or folder"):
        open_images(tmp_path / "nowhere")


def test_an_empty_folder_says_what_it_holds(tmp_path):
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "b.txt").write_text("")
    with pytest.raises(ToolError, match=r"found 2 \.txt"):
        open_images(tmp_path)


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 16, 16, 3), np.float32), np.zeros((2, 16, 16, 4), np.uint8), np.zeros((16, 16), np.uint8)],
)
def test_arrays_of_other_kinds_are_refused(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(FormatError, match="expected uint8"):
        open_images(tmp_path / "x.npy")


def test_pickled_arrays_are_not_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError):
        open_images(tmp_path / "x.npy")


def test_grey_arrays_have_one_channel(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 16, 16), np.uint8))
    assert open_images(tmp_path / "x.npy").read([1], 16).shape == (1, 1, 16, 16)


def test_several_arrays_in_a_file_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(FormatError, match="found a, b"):
        open_images(tmp_path / "x.npz")


def read_all(images, resolution=16):
    return images.read(range(len(images)), resolution)


def test_linked_folders_are_followed(reals, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "one").symlink_to(reals.folder / "a")
    (tmp_path / "set" / "other").symlink_to(reals.folder / "b")
    images = open_images(tmp_path / "set")
    assert np.array_equal(read_all(images, 32), reals.images)


@pytest.mark.parametrize("target", ["..", "../..", "."])
def test_a_link_to_a_folder_above_is_named(tmp_path, target):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "loop").symlink_to(target)
    with pytest.raises(ToolError, match="a link to a folder above it"):
        open_images(tmp_path)


def test_one_folder_linked_twice_is_no_loop(reals, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(reals.folder)
    assert len(open_images(tmp_path)) == 2 * len(reals.images)


def zip_of(path, pictures):
    """A zip of `{name: contents}`, or of pairs."""
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there already
        for name, data in pictures:
            archive.writestr(name, data)
    return path


@pytest.fixture
def png(noise):
    """Contents of small PNG files, by number."""

    def encode(number):
        file = io.BytesIO()
        Image.fromarray(noise(1, 16, seed=number)[0].transpose(1, 2, 0)).save(file, "PNG")
        return file.getvalue()

    return encode


@pytest.mark.parametrize("form", ["./{}.png", "/{}.png", "x/../{}.png", "./x/.././{}.png"])
def test_names_in_a_zip_are_taken_for_what_they_mean(tmp_path, png, form):
    pictures = [png(number) for number in range(4)]
    plain = zip_of(tmp_path / "plain.zip", [(f"{n}.png", data) for n, data in enumerate(pictures)])
    other = zip_of(tmp_path / "other.zip", [(form.format(n), data) for n, data in enumerate(pictures)])
    assert np.array_equal(read_all(open_images(other)), read_all(open_images(plain)))


@pytest.mark.parametrize("names", [("a.png", "a.png"), ("a.png", "./a.png"), ("x/../a.png", "a.png")])
def test_two_files_of_one_name_in_a_zip_are_refused(tmp_path, png, names):
    path = zip_of(tmp_path / "twice.zip", [(name, png(number)) for number, name in enumerate(names)])
    with pytest.raises(FormatError, match=r"twice\.zip: holds a\.png twice"):
        open_images(path)


def test_what_is_left_out_is_counted(tmp_path, png):
    names = ["a.png", ".b.png", ".hidden/c.png", "facts.json", "notes.txt", "b.json"]
    images = open_images(zip_of(tmp_path / "set.zip", [(name, png(0)) for name in names]))
    assert images.names == ["a.png"]
    (remark,) = images.remarks
    assert "1 pictures; not looked at: 2 hidden, 2 .json, 1 .txt" in remark


@pytest.mark.parametrize("form", ["images first", "images last"])
def test_images_beside_their_statistics_are_found(reals, tmp_path, form):
    arrays = {"arr_0": reals.images.transpose(0, 2, 3, 1), "mu": np.zeros(8), "sigma": np.zeros((8, 8))}
    if form == "images last":
        arrays = dict(reversed(arrays.items()))
    np.savez(tmp_path / "set.npz", **arrays)
    assert np.array_equal(read_all(open_images(tmp_path / "set.npz"), 32), reals.images)


def test_several_arrays_without_that_name_are_refused(tmp_path):
    np.savez(tmp_path / "set.npz", first=np.zeros(3), second=np.zeros(3))
    with pytest.raises(FormatError, match=r"one called arr_0; found first, second"):
        open_images(tmp_path / "set.npz")


def test_a_full_folder_for_temporary_files_is_named(reals, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("shutil.copyfileobj", Mock(side_effect=full))
    with pytest.raises(ToolError, match=rf"^{tmp_path}.*: the disk is full; let TMPDIR name"):
        open_images(reals.npz)


def test_a_pyramid_of_other_channels_is_refused_by_name(tmp_path):
    with h5py.File(tmp_path / "four.h5", "w") as file:
        file["data32x32"] = np.zeros((6, 4, 32, 32), np.uint8)
    with pytest.raises(ToolError, match=r"four\.h5: .*4 channels"):
        choose_protocol(open_images(tmp_path / "four.h5"))
