"""Folders and zips of pictures, and StyleGAN's labels."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from celebahq.errors import FormatError, ToolError
from celebahq.importing import import_dataset
from celebahq.options import ImportRequest
from celebahq.pyramid import PyramidReader
from celebahq.pyramid_tools.selecting import Selection, select_images
from celebahq.sources.data_set import ImportOptions
from celebahq.sources.folder import FolderOfImages, ZipOfImages
from celebahq.sources.labels import parse_labels

PLAIN = ImportOptions()


def encoded(pixels, form="png"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def fill(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def fill_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)


def test_pictures_of_any_format_in_the_order_of_their_paths(picture, tmp_path):
    files = {
        "b/1.bmp": encoded(picture, "bmp"),
        "a.png": encoded(picture),
        "B.webp": encoded(picture, "webp"),
    }
    images = FolderOfImages(fill(tmp_path, files | {"notes.txt": b"no picture"}), PLAIN)
    assert [images.image_name(i) for i in range(3)] == ["B.webp", "a.png", "b/1.bmp"]
    np.testing.assert_array_equal(images.read(2).image, picture.transpose(2, 0, 1))
    assert images.read(2).label is None


def test_grey_pictures_make_a_grey_set(picture, tmp_path):
    grey = picture[..., 0]
    files = {
        "a.png": encoded(grey),
        "b.png": encoded(np.stack([grey] * 3, axis=2)),
        "c.png": encoded(picture),
    }
    images = FolderOfImages(fill(tmp_path, files), PLAIN)
    assert images.channels == 1
    for i in range(2):
        np.testing.assert_array_equal(images.read(i).image, grey[None])
    with pytest.raises(ToolError, match=r"^has colours, but the first picture is grey"):
        images.read(2)


def test_a_grey_picture_among_coloured_ones_is_taken(picture, tmp_path):
    images = FolderOfImages(
        fill(tmp_path, {"a.png": encoded(picture), "b.png": encoded(picture[..., 0])}), PLAIN
    )
    np.testing.assert_array_equal(images.read(1).image, np.stack([picture[..., 0]] * 3))


def test_one_bad_picture_does_not_stop_the_others(picture, tmp_path):
    files = {
        "a.png": encoded(picture)[:100],
        "b.png": encoded(picture),
        "c.png": encoded(picture[:8]),
        "d.png": b"",
    }
    images = FolderOfImages(fill(tmp_path, files), PLAIN)  # the second decides the size
    np.testing.assert_array_equal(images.read(1).image, picture.transpose(2, 0, 1))
    for index, message in (
        (0, "cannot be decoded"),
        (2, "16x8 pixels, but the first is 16x16"),
        (3, "empty"),
    ):
        with pytest.raises(ToolError, match=message):
            images.read(index)


@pytest.mark.parametrize("shape", [(16, 8, 3), (12, 12, 3)])
def test_other_sizes_are_refused_with_advice(tmp_path, shape):
    fill(tmp_path, {"a.png": encoded(np.zeros(shape, np.uint8))})
    with pytest.raises(
        ToolError, match=rf"a\.png has {shape[1]}x{shape[0]} pixels.*power of two.*celebahq build"
    ):
        FolderOfImages(tmp_path, PLAIN)


def test_nothing_that_decodes_is_said(tmp_path):
    with pytest.raises(ToolError, match=r"no picture can be decoded: a\.png: an empty file"):
        FolderOfImages(fill(tmp_path, {"a.png": b""}), PLAIN)


def test_a_folders_label_file_is_used(picture, tmp_path):
    labels = {"labels": [["b.png", [0.5, 1]], ["a.png", [2, 0]]]}
    files = {
        "a.png": encoded(picture),
        "b.png": encoded(picture),
        "dataset.json": json.dumps(labels).encode(),
    }
    images = FolderOfImages(fill(tmp_path, files), PLAIN)
    assert [images.read(i).label.tolist() for i in range(2)] == [[2, 0], [0.5, 1]]


def test_the_names_of_folders_are_those_of_the_labels(picture, tmp_path):
    fill(tmp_path / "in", {"cat/1.png": encoded(picture), "dög/1.png": encoded(picture)})
    of_folders = ImportOptions(folder_labels=True)
    import_dataset(ImportRequest("folder", tmp_path / "in", tmp_path / "a.h5", of_folders))
    import_dataset(ImportRequest("hdf5", tmp_path / "a.h5", tmp_path / "b.h5"))
    with PyramidReader(tmp_path / "b.h5") as reader:
        assert select_images(reader, tmp_path / "c.h5", Selection(labels=[("dög", 1)])) == 1
    with PyramidReader(tmp_path / "c.h5") as reader:
        assert reader.label_names == ["cat", "dög"]
        assert reader.labels.tolist() == [[0, 1]]


def test_folder_labels_need_folders(picture, tmp_path):
    fill(tmp_path, {"a/1.png": encoded(picture), "b.png": encoded(picture)})
    with pytest.raises(ToolError, match=r"--folder-labels, but b\.png is in no sub-folder"):
        FolderOfImages(tmp_path, ImportOptions(folder_labels=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not StyleGAN's labels"),
        ("[]", "not StyleGAN's labels"),
        ('{"labels": [["a.png"]]}', "not StyleGAN's labels"),
        ('{"labels": [["a.png", 1]]}', r"no label for 1 of 2 pictures \(b\.png"),
        ('{"labels": [["a.png", 1], ["b.png", -1]]}', "not all class numbers"),
        ('{"labels": [["a.png", [1, 2]], ["b.png", [1]]]}', "rows of equal length"),
        ('{"labels": [["a.png", "x"], ["b.png", "y"]]}', "not all class numbers"),
    ],
)
def test_label_files_that_do_not_fit(text, message):
    with pytest.raises(FormatError, match=message):
        parse_labels(text.encode(), ["a.png", "b.png"], "dataset.json")


def test_class_numbers_become_rows():
    text = b'{"labels": [["a.png", 3], ["b.png", 0]]}'
    assert parse_labels(text, ["b.png", "a.png"], "").tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    assert parse_labels(b'{"labels": null}', ["a.png"], "") is None


def test_zips_that_are_none(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(FormatError, match=r"a\.zip: not a zip"):
        ZipOfImages(tmp_path / "a.zip", PLAIN)
    with pytest.raises(ToolError, match="no pictures in it"):
        ZipOfImages(fill_zip(tmp_path / "b.zip", {"a.txt": b""}), PLAIN)


def test_a_damaged_member_costs_itself_alone(picture, tmp_path):
    path = fill_zip(tmp_path / "a.zip", {"a.png": encoded(picture), "b.png": encoded(picture)})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        data[archive.getinfo("b.png").header_offset + 60] ^= 255
    path.write_bytes(data)
    images = ZipOfImages(path, PLAIN)
    images.load()
    np.testing.assert_array_equal(images.read(0).image, picture.transpose(2, 0, 1))
    with pytest.raises(ToolError, match=r"^cannot be decoded: Bad CRC"):
        images.read(1)


def test_a_bomb_is_not_unpacked(picture, tmp_path, monkeypatch):
    monkeypatch.setattr("celebahq.readers.zips.MAX_MEMBER_BYTES", 10_000)
    path = fill_zip(tmp_path / "a.zip", {"a.png": encoded(picture), "b.png": bytes(100_000)})
    images = ZipOfImages(path, PLAIN)
    images.load()
    with pytest.raises(ToolError, match=r"^100,000 bytes, but at most 10,000 are unpacked"):
        images.read(1)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damaged_compression_is_one_line(picture, tmp_path, compression):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a.png", encoded(picture))
        archive.writestr("b.png", encoded(picture))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    messages = []
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            images = ZipOfImages(path, PLAIN)
            images.load()
            images.read(0)
        except ToolError as err:
            messages.append(str(err))
    assert messages
    assert not any("\n" in message for message in messages)


def test_a_file_without_a_name_is_refused(picture, tmp_path):
    path = fill_zip(tmp_path / "a.zip", {"a.png": encoded(picture), "b": b"x"})
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\1\2")
    data[entry + 28], data[entry + 32] = 0, 1  # the name's one letter becomes a comment
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"a\.zip: holds a file without a name"):
        ZipOfImages(path, PLAIN)


def test_two_files_of_one_name_are_refused(picture, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", encoded(picture))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", encoded(picture[::-1]))
    with pytest.raises(FormatError, match=r"a\.zip: holds a\.png twice"):
        ZipOfImages(path, PLAIN)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ('{"labels": [["a.png", 1000000000000]]}', "class numbers up to 1000000000000"),
        ('{"labels": [["a.png", 100000]]}', "at most 100,000"),
        ('{"labels": ' + "[" * 100_000, "not StyleGAN's labels"),
        ('{"labels": [["a.png", ' + "9" * 5000 + "]]}", "not StyleGAN's labels"),
        ('{"labels": [["a.png", [1e400]]]}', "not all class numbers"),
        ('{"labels": [["a.png", [1e50]]]}', "not all class numbers"),
        ('{"labels": [["a.png", [' + "9" * 400 + "]]]}", "not all class numbers"),
        ('{"labels": [["a.png", 1], ["a.png", 2]]}', "names a picture twice"),
        ('{"labels": [[["a.png"], 1]]}', "not StyleGAN's labels"),
    ],
    ids=range(9),
)
def test_labels_without_measure(labels, message):
    with pytest.raises(FormatError, match=rf"^dataset\.json: .*{message}"):
        parse_labels(labels.encode(), ["a.png"], "dataset.json")
