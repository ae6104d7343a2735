"""Several files with a manifest are read as one file is."""

import json
import multiprocessing
import pickle
import shutil
from itertools import pairwise

import h5py
import numpy as np
import pytest

import celebahq
from celebahq.errors import FormatError, ToolError
from celebahq.formats import parts as parts_module
from celebahq.pyramid import (
    MANIFEST,
    Manifest,
    Part,
    PyramidFile,
    PyramidReader,
    PyramidWriter,
    is_data_set,
    write_manifest,
)

RESOLUTION, COUNTS = 32, (5, 1, 17, 7)


def write_part(path, images, first):
    numbers = np.arange(first, first + len(images))
    with PyramidWriter(path, RESOLUTION, provenance={"by": "hand"}) as writer:
        writer.append(
            images,
            labels=np.stack([numbers, numbers % 3], axis=1),
            meta={"source_name": [f"{n}.jpg" for n in numbers], "quality_score": numbers / 7},
        )
    return Part.of(path)


@pytest.fixture(scope="module")
def images():
    count = sum(COUNTS)
    return np.random.default_rng(3).integers(0, 256, (count, 3, RESOLUTION, RESOLUTION), np.uint8)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """The same data set as one file."""
    path = tmp_path_factory.mktemp("whole") / "whole.h5"
    write_part(path, images, 0)
    return path


@pytest.fixture(scope="module")
def made(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    starts = np.cumsum([0, *COUNTS])
    parts = [
        write_part(folder / f"part-{i:05d}.h5", images[a:b], a) for i, (a, b) in enumerate(pairwise(starts))
    ]
    write_manifest(Manifest(folder / MANIFEST, {"by": "hand"}, tuple(parts)))
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "many")


@pytest.mark.parametrize("name", ["", MANIFEST])
@pytest.mark.parametrize("threads", [1, 4])
def test_it_reads_as_the_one_file_does(folder, whole, rng, name, threads):
    many, one = PyramidReader(folder / name, threads=threads), PyramidReader(whole)
    assert (len(many), many.levels, many.channels) == (len(one), one.levels, one.channels)
    assert (many.provenance, many.meta_names) == (one.provenance, one.meta_names)
    np.testing.assert_array_equal(many.labels, one.labels)
    for fact in one.meta_names:
        np.testing.assert_array_equal(many.meta(fact), one.meta(fact))
    for resolution in one.levels:
        indices = rng.integers(0, len(one), 200)
        np.testing.assert_array_equal(many.read(indices, resolution), one.read(indices, resolution))
    np.testing.assert_array_equal(many[4:7], one[4:7])
    np.testing.assert_array_equal(celebahq.open(folder)[-1], one[-1])
    with pytest.raises(IndexError, match="30 images, asked for 30"):
        many.read([30])


def test_files_are_opened_when_they_are_needed_and_not_all_stay_open(folder, images, monkeypatch):
    opened = []
    monkeypatch.setattr(
        parts_module, "PyramidFile", lambda path: opened.append(path.name) or PyramidFile(path)
    )
    monkeypatch.setattr(parts_module, "MAX_OPEN", 2)
    reader = PyramidReader(folder)
    assert opened == ["part-00000.h5"]
    np.testing.assert_array_equal(reader.read([8, 5, 7]), images[[8, 5, 7]])
    assert opened == ["part-00000.h5", "part-00001.h5", "part-00002.h5"]
    np.testing.assert_array_equal(reader.read(range(30)), images)
    held = [file._open is not None for file in reader.files._files.values()]
    assert sum(held) <= 2
    np.testing.assert_array_equal(reader.read(range(30)), images)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_in_other_processes(folder, images, method):
    reader = PyramidReader(folder)
    reader.read(range(30))
    with multiprocessing.get_context(method).Pool(2) as pool:
        results = pool.map(reader.read, [range(i, 30, 3) for i in range(3)])
    for i, result in enumerate(results):
        np.testing.assert_array_equal(result, images[i::3])


def test_a_pickled_reader_wants_the_same_manifest(folder):
    pickled = pickle.dumps(PyramidReader(folder))
    assert len(pickle.loads(pickled)) == 30
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(FormatError, match="changed since it was opened"):
        pickle.loads(pickled)


def edit(folder, change):
    facts = json.loads((folder / MANIFEST).read_text())
    change(facts)
    (folder / MANIFEST).write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="other"), "not the manifest of a data set"),
        (lambda m: m.update(format_version=2), "version 2, .*update"),
        (lambda m: m.update(parts=[]), "lists no files"),
        (lambda m: m.pop("provenance"), "no provenance"),
        (lambda m: m.update(images=31), "do not add up"),
        (lambda m: m["parts"].append(m["parts"][0]), "listed twice"),
        (lambda m: m["parts"][1].update(file="../part-00001.h5"), "no entry of a file"),
        (lambda m: m["parts"][1].update(file=".."), "no entry of a file"),
        (lambda m: m["parts"][1].update(file=""), "no entry of a file"),
        (lambda m: m["parts"][1].update(images="1"), "no entry of a file"),
        (lambda m: m["parts"][1].update(images=True), "no entry of a file"),
        (lambda m: m["parts"][1].update(images=-1), "no entry of a file"),
        (lambda m: m["parts"][1].pop("sha256"), "no entry of a file"),
        (lambda m: m["parts"].__setitem__(1, "part"), "no entry of a file"),
        (lambda m: m["parts"][1].update(bytes=7), "bytes, but manifest.json says 7"),
    ],
)
def test_a_damaged_manifest_is_one_clear_error(folder, change, message):
    edit(folder, change)
    with pytest.raises(FormatError, match=message):
        PyramidReader(folder)


def test_a_missing_file_is_named_at_once(folder):
    (folder / "part-00003.h5").unlink()
    with pytest.raises(ToolError, match=r"part-00003\.h5: no such file, but manifest\.json lists it"):
        PyramidReader(folder)


def test_another_file_of_the_same_size_is_not_read(folder):
    place = folder / "part-00001.h5"
    with h5py.File(place, "r+") as file:
        file.attrs["crc32"] = np.uint32(7)
    edit(folder, lambda m: m["parts"][1].update(bytes=place.stat().st_size))
    reader = PyramidReader(folder)
    reader.read([0])
    with pytest.raises(FormatError, match=r"part-00001\.h5: not the file that manifest\.json lists"):
        reader.read([5])


def test_files_of_different_kinds_are_no_data_set(folder, tmp_path):
    place = folder / "part-00001.h5"
    place.unlink()
    with PyramidWriter(place, RESOLUTION) as writer:
        writer.append(np.zeros((1, 3, RESOLUTION, RESOLUTION), np.uint8))
    facts = PyramidFile(place)
    size, crc32 = place.stat().st_size, f"{facts.facts['crc32']:08x}"
    edit(folder, lambda m: m["parts"][1].update(bytes=size, crc32=crc32))
    with pytest.raises(FormatError, match="of another kind than in part-00000"):
        PyramidReader(folder).read([5])


def test_what_promises_a_data_set(folder, tmp_path):
    assert is_data_set(folder)
    assert is_data_set(folder / MANIFEST)
    assert is_data_set(folder / "part-00000.h5")
    assert not is_data_set(tmp_path)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / MANIFEST).write_text('{"name": "a web page"}')
    assert not is_data_set(tmp_path / "app")
