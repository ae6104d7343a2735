import re

import h5py
import numpy as np
import pytest

from celebahq.errors import FormatError
from celebahq.pyramid import PyramidReader, PyramidWriter, mip_levels
from celebahq.pyramid_tools.inspection import describe_pyramid
from celebahq.pyramid_tools.verification import verify_pyramid


@pytest.fixture
def path(rng, tmp_path):
    images = rng.integers(0, 200, (9, 3, 64, 64), dtype=np.uint8)
    with PyramidWriter(tmp_path / "a.h5", 64) as writer:
        writer.append(images, labels=np.eye(9), meta={"name": list("abcdefghi"), "size": np.arange(9)})
    return tmp_path / "a.h5"


def change(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)
    return verify_pyramid(path)


def test_a_good_file_has_no_problems(path):
    counted = []
    assert verify_pyramid(path, lambda: counted.append(1)) == []
    assert len(counted) == 9


def test_a_good_file_of_the_originals_layout_has_none(rng, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for level in mip_levels(rng.integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)):
            file[f"data{level.shape[2]}x{level.shape[2]}"] = level
    assert verify_pyramid(tmp_path / "a.h5") == []


def test_changed_pixels_are_found_twice(path):
    def edit(file):
        file["data16x16"][4, 0, 2, 2] += 3
        file["data16x16"][7, 0, 2, 2] += 1

    assert change(path, edit) == [
        "data16x16: not what was written (CRC-32)",
        "data16x16: 2 images, first 4, are not what the largest level gives, by up to 3 grey levels",
    ]


def test_a_damaged_image_is_named_and_the_others_are_checked(path):
    with h5py.File(path) as file:
        place = file["data64x64"].id.get_chunk_info(3).byte_offset
    with path.open("r+b") as file:
        file.seek(place + 500)
        file.write(bytes(8))
    checksum, image = verify_pyramid(path)
    assert checksum == "data64x64: not what was written (CRC-32)"
    assert image.startswith("image 3: ")
    assert "data64x64: chunk 3" in image


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda f: f["labels"].__setitem__((2, 1), 3),
            r"labels: not the values that were written \(CRC-32\)",
        ),
        (lambda f: f["meta/name"].__setitem__(3, "x"), r"meta/name: not the values that were written"),
        (lambda f: f["meta/size"].__setitem__(0, -1), r"meta/size: not the values that were written"),
    ],
)
def test_changed_labels_and_facts_are_found(path, edit, message):
    (problem,) = change(path, edit)
    assert re.search(message, problem)


@pytest.mark.parametrize(
    "edit",
    [
        lambda f: f.attrs.__setitem__("provenance", '{"source": "elsewhere"}'),
        lambda f: f.__delitem__("meta/name"),
        lambda f: f.move("meta/name", "meta/title"),
        lambda f: f.create_dataset("meta/more", data=np.arange(9)),
        lambda f: f["labels"].attrs.__delitem__("crc32"),
        lambda f: f["data64x64"].attrs.__delitem__("crc32"),
        lambda f: f.attrs.__delitem__("crc32"),
        lambda f: (f.attrs.__delitem__("crc32"), f.attrs.__delitem__("provenance")),
    ],
    ids=[
        "provenance",
        "fact lost",
        "fact renamed",
        "fact added",
        "checksum lost",
        "level's checksum lost",
        "its own lost",
        "more lost",
    ],
)
def test_a_changed_structure_is_found(path, edit):
    assert change(path, edit) == ["structure: not what was written (CRC-32)"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda f: f.create_dataset("data_extra", data=1), "data_extra: a name at the root"),
        (
            lambda f: make_version_1(f) or f["labels"].__setitem__((2, 1), np.nan),
            "labels: some are not finite",
        ),
        (lambda f: f["labels"].resize(8, axis=0), r"labels: \(8, 9\) float32, expected \[9, L\]"),
        (lambda f: f["meta/name"].resize(8, axis=0), "meta/name has 8 rows, not 9"),
    ],
)
def test_what_else_can_be_wrong(path, edit, message):
    problems = change(path, edit)
    assert re.search(message, problems[-1])
    assert set(problems[:-1]) <= {"structure: not what was written (CRC-32)"}


def make_version_1(file):
    """What files of that version lack."""
    file.attrs["format_version"] = 1
    del file.attrs["crc32"]
    for name in ("labels", "meta/name", "meta/size"):
        del file[name].attrs["crc32"]


def test_files_of_version_1_are_still_read(path):
    assert change(path, make_version_1) == []
    reader = PyramidReader(path)
    assert reader.format_version == 1
    np.testing.assert_array_equal(reader.labels, np.eye(9))
    assert reader.meta("name").tolist() == list("abcdefghi")
    assert describe_pyramid(path).format == "celebahq-pyramid 1"


def test_a_lost_format_is_an_error(path):
    with pytest.raises(FormatError, match="no attribute that names its format"):
        change(path, lambda f: f.attrs.__delitem__("format"))


def test_a_broken_structure_is_an_error(path):
    with pytest.raises(FormatError, match="levels"):
        change(path, lambda f: f.__delitem__("data8x8"))
