"""What must hold for every source of `celebahq import`."""

import json
import pickle
import shutil
from dataclasses import fields

import numpy as np
import pytest

from celebahq.errors import ToolError
from celebahq.sources.catalogue import SOURCES
from celebahq.sources.data_set import DataSet, ImportOptions, open_data_set


@pytest.fixture(params=SOURCES)
def source(request, writers, tmp_path):
    """Name, path and contents of a small data set."""
    path = tmp_path / request.param
    return request.param, path, writers[request.param](path)


def read_all(images: DataSet, count: int):
    images.load()
    return [images.read(i) for i in range(count)]


def test_images_and_labels_are_those_on_disk(source):
    name, path, layout = source
    images = open_data_set(name, path, layout.options)
    assert images.source is SOURCES[name]
    count = len(layout.images)
    assert len(images) == (1_000_000 if name == "mnist-rgb" else count)
    assert (images.channels, images.resolution) == layout.images.shape[1:3]
    examples = read_all(images, count)
    for example, expected in zip(examples, layout.images, strict=True):
        assert example.image.dtype == np.uint8
        np.testing.assert_array_equal(example.image, expected)
    if layout.labels is None:
        assert all(example.label is None for example in examples)
    else:
        labels = np.stack([example.label for example in examples])
        assert labels.dtype == np.float32
        np.testing.assert_array_equal(labels, layout.labels)


def test_a_worker_reads_the_same(source):
    name, path, layout = source
    images = open_data_set(name, path, layout.options)
    images.load()
    copy = pickle.loads(pickle.dumps(open_data_set(name, path, layout.options)))
    copy.load()
    np.testing.assert_array_equal(copy.read(1).image, images.read(1).image)
    assert copy.image_name(1) == images.image_name(1)


def test_names_differ_and_are_text(source):
    name, path, layout = source
    images = open_data_set(name, path, layout.options)
    images.load()
    names = [images.image_name(i) for i in range(len(layout.images))]
    assert len(set(names)) == len(names)
    assert all(isinstance(name, str) and str(path.parent) not in name for name in names)


def test_facts_tell_the_data_not_the_place(source, writers, tmp_path):
    name, path, layout = source
    facts = json.dumps(open_data_set(name, path, layout.options).facts())
    assert str(tmp_path) not in facts
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert json.dumps(open_data_set(name, tmp_path / "copy" / path.name, layout.options).facts()) == facts
    other = tmp_path / "other" / path.name
    other.parent.mkdir()
    writers[name](other)  # new noise
    if name not in ("hdf5", "tfrecord", "celeba", "folder", "lsun"):  # these know names and sizes
        assert json.dumps(open_data_set(name, other, layout.options).facts()) != facts


def test_nothing_there_is_one_line_with_the_remedy(source, tmp_path):
    name, _, layout = source
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ToolError, match=r"empty[^\n]*: [^\n]+$"):
        open_data_set(name, empty, layout.options)


@pytest.mark.parametrize(
    ("name", "found", "others"),
    [
        ("zip", "a folder, but zip takes a file: a zip of pictures", "folder, celeba, cifar10"),
        ("hdf5", "a folder, but hdf5 takes a file: a file with data", "folder, celeba, cifar10"),
        ("folder", "a file, but folder takes a folder: pictures", "hdf5, zip"),
        ("cifar10", "a file, but cifar10 takes a folder: cifar-10-batches-py/", "hdf5, zip"),
    ],
)
def test_a_folder_for_a_file_is_told_with_the_sources_that_take_it(tmp_path, name, found, others):
    path = tmp_path / "path"
    path.mkdir() if "a folder, but" in found else path.touch()
    with pytest.raises(ToolError) as caught:
        open_data_set(name, path, ImportOptions())
    assert str(caught.value).startswith(f"{path}: {found}")
    assert f". Sources that take {found.split(',')[0]}: {others}" in str(caught.value)


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_not_there_is_named(tmp_path, name):
    with pytest.raises(ToolError, match="path: no such file or folder"):
        open_data_set(name, tmp_path / "path", ImportOptions())


@pytest.mark.parametrize(
    "source", [s.name for s in SOURCES.values() if "partial" in s.options], indirect=True
)
def test_a_published_set_must_be_complete(source):
    name, path, layout = source
    with pytest.raises(ToolError, match=r"\d images, but the published set has [\d,]+; .*--partial"):
        open_data_set(name, path, ImportOptions(split=layout.options.split))


def test_each_description_is_complete():
    known = {field.name for field in fields(ImportOptions)}
    for source in SOURCES.values():
        assert source.options <= known
        assert source.expects
        assert source.origin
