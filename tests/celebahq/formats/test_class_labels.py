"""Labels of many classes take 4 bytes an image, and are rows wherever they are used."""

import h5py
import numpy as np
import pytest

from celebahq.errors import FormatError
from celebahq.jobs.shards import label_row, plain_label
from celebahq.pyramid import ClassLabels, PyramidReader, PyramidWriter, one_hot
from celebahq.pyramid_tools.comparison import compare_pyramids
from celebahq.pyramid_tools.exporting import export_images
from celebahq.pyramid_tools.verification import verify_pyramid
from celebahq.sources.labels import parse_labels

NUMBERS = np.array([3, 0, 99, 3, 7, 98], np.int32)
ROWS = np.eye(100, dtype=np.float32)[NUMBERS]


@pytest.fixture
def large(monkeypatch):
    """As if these labels were many."""
    for module in ("formats.pyramid_file", "sources.labels"):
        monkeypatch.setattr(f"celebahq.{module}.ROWS_BYTES", 100)


def write(path, rows):
    with PyramidWriter(path, 4) as writer:
        writer.append(np.zeros((len(rows), 3, 4, 4), np.uint8), rows)
    return path


def test_they_are_the_rows():
    labels = ClassLabels(NUMBERS, 100)
    assert (labels.shape, labels.dtype, len(labels)) == (ROWS.shape, ROWS.dtype, len(ROWS))
    for index in (2, -1, [4, 0, 0], slice(1, 4), np.array([5, 2]), NUMBERS == 3, [[1, 2], [3, 4]]):
        np.testing.assert_array_equal(labels[index], ROWS[index])
        assert labels[index].dtype == np.float32
    np.testing.assert_array_equal(labels[:, 3], ROWS[:, 3])
    np.testing.assert_array_equal(np.asarray(labels), ROWS)
    np.testing.assert_array_equal(list(labels), ROWS)
    np.testing.assert_array_equal(one_hot(labels), NUMBERS)


@pytest.mark.parametrize(("place", "value"), [(3, 0), (4, 1), (4, 0.5), (3, 2), (5, -1), (5, np.nan)])
def test_rows_with_anything_but_a_single_1_are_not_one_hot(place, value):
    rows = ROWS.copy()
    assert one_hot(rows).tolist() == NUMBERS.tolist()
    rows[0, place] = value
    assert one_hot(rows) is None


def test_a_files_labels_are_read_as_numbers_and_used_as_rows(large, tmp_path):
    path = write(tmp_path / "a.h5", ROWS)
    reader = PyramidReader(path)
    assert isinstance(reader.labels, ClassLabels)
    np.testing.assert_array_equal(reader.labels[[5, 1]], ROWS[[5, 1]])
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["labels"], ROWS)  # any reader sees rows
    assert verify_pyramid(path) == []
    assert compare_pyramids(path, write(tmp_path / "b.h5", ROWS)).labels_equal
    assert not compare_pyramids(path, write(tmp_path / "c.h5", ROWS[::-1])).labels_equal
    export_images(reader, tmp_path / "classes", "folder-by-class")
    assert sorted(each.name for each in (tmp_path / "classes").iterdir()) == ["00", "03", "07", "98", "99"]


def test_labels_that_are_not_one_hot_stay_rows(large, tmp_path):
    rows = ROWS.copy()
    rows[-1, :2] = 0.5
    labels = PyramidReader(write(tmp_path / "a.h5", rows)).labels
    assert isinstance(labels, np.ndarray)
    np.testing.assert_array_equal(labels, rows)


def test_a_change_is_noticed(large, tmp_path):
    path = write(tmp_path / "a.h5", ROWS)
    with h5py.File(path, "r+") as file:
        file["labels"][0] = ROWS[1]
    with pytest.raises(FormatError, match="labels: not the values that were written"):
        PyramidReader(path).labels  # noqa: B018


def test_many_classes_of_a_source_are_numbers(large):
    names = [f"{i}.png" for i in range(6)]
    listed = [[name, int(number)] for name, number in zip(names, NUMBERS, strict=True)]
    labels = parse_labels(str({"labels": listed}).replace("'", '"').encode(), names, "dataset.json")
    assert isinstance(labels, ClassLabels)
    np.testing.assert_array_equal(labels, ROWS)


@pytest.mark.parametrize(
    ("row", "short"),
    [
        (ROWS[0], True),
        (ROWS[0] * 0.5, False),
        (ROWS[0][:5], False),
        (ROWS[0] * 0, False),
        (ROWS[0] + ROWS[1], False),
    ],
)
def test_a_logs_label_is_the_row_again(row, short):
    plain = plain_label(row)
    assert isinstance(plain, dict) == short
    np.testing.assert_array_equal(label_row(plain), row)
    assert label_row(plain).dtype == np.float32
