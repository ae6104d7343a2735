import io
import itertools
import json
import tarfile
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from celebahq.cli import main
from celebahq.commands.publishing import FORMS
from celebahq.errors import ToolError
from celebahq.pyramid import PyramidReader, PyramidWriter, mip_levels
from celebahq.pyramid_tools.exporting import export_images
from celebahq.readers.tfrecords import read_image, scan_records


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)


def open_pyramid(path, images, labels=None):
    with PyramidWriter(path, 32, images.shape[1]) as writer:
        writer.append(images, labels)
    return PyramidReader(path)


def test_a_zip_holds_pictures_and_class_numbers(images, tmp_path):
    labels = np.eye(3)[np.arange(12) % 3]
    export_images(open_pyramid(tmp_path / "a.h5", images, labels), tmp_path / "a.zip", "zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 13
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        found = json.loads(archive.read("dataset.json"))["labels"]
        assert found == [[f"00000/img{i:08d}.png", i % 3] for i in range(12)]
        picture = Image.open(io.BytesIO(archive.read(found[7][0])))
        np.testing.assert_array_equal(np.asarray(picture), images[7].transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.eye(4)[np.zeros(12, int)], [1.0, 0.0, 0.0, 0.0]),  # the last class never occurs
        (np.full((12, 2), 0.5), [0.5, 0.5]),
    ],
)
def test_other_labels_are_written_out(images, tmp_path, labels, expected):
    export_images(open_pyramid(tmp_path / "a.h5", images, labels), tmp_path / "a.zip", "zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert json.loads(archive.read("dataset.json"))["labels"][0][1] == expected


def test_no_labels_are_null(images, tmp_path):
    export_images(open_pyramid(tmp_path / "a.h5", images), tmp_path / "out", "folder", resolution=16)
    assert json.loads((tmp_path / "out" / "dataset.json").read_text()) == {"labels": None}
    with Image.open(tmp_path / "out" / "00000" / "img00000003.png") as opened:
        picture = np.asarray(opened)
    np.testing.assert_array_equal(picture, mip_levels(images)[1][3].transpose(1, 2, 0))


def test_a_zip_is_the_same_bytes_every_time(images, tmp_path):
    reader = open_pyramid(tmp_path / "a.h5", images)
    for name in ("a.zip", "b.zip"):
        export_images(reader, tmp_path / name, "zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_tfrecords_hold_every_level_down_to_4x4(images, tmp_path):
    labels = np.eye(12)
    export_images(open_pyramid(tmp_path / "a.h5", images, labels), tmp_path / "noise", "tfrecord")
    names = sorted(path.name for path in (tmp_path / "noise").iterdir())
    assert names == [f"noise-r{r:02d}.tfrecords" for r in (2, 3, 4, 5)] + ["noise-rxx.labels"]
    for level in mip_levels(images)[:4]:
        path = tmp_path / "noise" / f"noise-r{int(np.log2(level.shape[2])):02d}.tfrecords"
        found = [read_image(path, place) for place in scan_records(path)]
        np.testing.assert_array_equal(found, level)
    stored = np.load(tmp_path / "noise" / "noise-rxx.labels")
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, labels)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_replaced_and_nothing_half_done_is_left(images, tmp_path, form):
    reader = open_pyramid(tmp_path / "a.h5", images, np.eye(12))
    (tmp_path / "there").mkdir()
    with pytest.raises(ToolError, match="exists already"):
        export_images(reader, tmp_path / "there", form)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_images(reader, tmp_path / "new", form, on_image=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "there"]


def test_images_too_small_for_tfrecords_are_refused(tmp_path):
    with PyramidWriter(tmp_path / "a.h5", 2) as writer:
        writer.append(np.zeros((1, 3, 2, 2), np.uint8))
    with pytest.raises(ToolError, match="less than"):
        export_images(PyramidReader(tmp_path / "a.h5"), tmp_path / "out", "tfrecord")


FACTS = {
    "source_name": [f"ü{i}.jpg" for i in range(12)],
    "landmarks": np.arange(120.0).reshape(12, 5, 2),
    "quality_score": np.arange(12) / 4,
}


@pytest.fixture
def with_facts(images, tmp_path):
    with PyramidWriter(tmp_path / "facts.h5", 32) as writer:
        writer.append(images, np.eye(12)[::-1], FACTS)
    return PyramidReader(tmp_path / "facts.h5")


def facts_of(index):
    return {name: np.asarray(values[index]).tolist() for name, values in FACTS.items()}


def test_an_imagefolder_has_a_line_of_facts_for_each_picture(with_facts, images, tmp_path):
    export_images(with_facts, tmp_path / "out", "imagefolder")
    lines = (tmp_path / "out" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 12
    for index, line in enumerate(map(json.loads, lines)):
        with Image.open(tmp_path / "out" / line.pop("file_name")) as picture:
            np.testing.assert_array_equal(np.asarray(picture), images[index].transpose(1, 2, 0))
        assert line == {**facts_of(index), "label": 11 - index}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_its_tars(with_facts, images, tmp_path, monkeypatch):
    webdataset = pytest.importorskip("webdataset")
    monkeypatch.setattr("celebahq.pyramid_tools.exporting.TAR_IMAGES", 5)
    export_images(with_facts, tmp_path / "faces", "webdataset")
    tars = sorted(tmp_path.glob("faces/*.tar"))
    assert [tar.name for tar in tars] == [f"faces-{i:06d}.tar" for i in range(3)]
    found = [
        sample
        for tar in tars
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False).decode("rgb8")
    ]
    assert len(found) == 12
    for index, sample in enumerate(found):
        np.testing.assert_array_equal(sample["png"], images[index].transpose(1, 2, 0))
        assert sample["json"] == {**facts_of(index), "label": 11 - index}
        assert sample["cls"] == 11 - index


def mds_samples(folder):
    """By the format's description: each sample's columns as bytes."""
    index = json.loads((folder / "index.json").read_text())
    assert index["version"] == 2
    for shard in index["shards"]:
        data = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"]
        count, *places = np.frombuffer(data, np.uint32, shard["samples"] + 2).tolist()
        assert count == shard["samples"]
        assert places[-1] == len(data)
        for begin, end in itertools.pairwise(places):
            fixed = shard["column_sizes"]
            sizes = iter(np.frombuffer(data, np.uint32, fixed.count(None), begin).tolist())
            at, sample = begin + 4 * fixed.count(None), {}
            for name, size in zip(shard["column_names"], fixed, strict=True):
                size = next(sizes) if size is None else size
                sample[name] = data[at : at + size]
                at += size
            assert at == end
            yield sample


def test_mds_shards_hold_pictures_facts_and_labels(with_facts, images, tmp_path, monkeypatch):
    monkeypatch.setattr("celebahq.pyramid_tools.mds.SHARD_BYTES", 12000)
    for name in ("one", "two"):
        export_images(with_facts, tmp_path / name, "mds")
    shards = sorted(path.name for path in (tmp_path / "one").glob("*.mds"))
    assert len(shards) > 2
    assert all((tmp_path / "one" / name).stat().st_size <= 12000 for name in shards)
    found = list(mds_samples(tmp_path / "one"))
    assert len(found) == 12
    for index, sample in enumerate(found):
        with Image.open(io.BytesIO(sample["image"])) as picture:
            np.testing.assert_array_equal(np.asarray(picture), images[index].transpose(1, 2, 0))
        assert json.loads(sample["facts"]) == {**facts_of(index), "label": 11 - index}
        assert int.from_bytes(sample["label"], "little") == 11 - index
    for name in [*shards, "index.json"]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_image_larger_than_a_shard_has_its_own(with_facts, tmp_path, monkeypatch):
    monkeypatch.setattr("celebahq.pyramid_tools.mds.SHARD_BYTES", 100)
    export_images(with_facts, tmp_path / "out", "mds")
    assert len(list((tmp_path / "out").glob("*.mds"))) == 12
    assert len(list(mds_samples(tmp_path / "out"))) == 12


def test_tars_are_the_same_bytes_every_time(with_facts, tmp_path):
    for name in ("one", "two"):
        export_images(with_facts, tmp_path / name / "faces", "webdataset")
    one, two = ((tmp_path / name / "faces" / "faces-000000.tar").read_bytes() for name in ("one", "two"))
    assert one == two
    with tarfile.open(tmp_path / "one" / "faces" / "faces-000000.tar") as tar:
        assert {(member.mtime, member.uid, member.uname) for member in tar} == {(0, 0, "")}


def test_folders_by_class_are_in_the_classes_order(with_facts, images, tmp_path):
    export_images(with_facts, tmp_path / "out", "folder-by-class")
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert folders == [f"{i:02d}" for i in range(12)]  # as torchvision numbers them
    with Image.open(tmp_path / "out" / "09" / "00000002.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), images[2].transpose(1, 2, 0))
    several = open_pyramid(tmp_path / "b.h5", images, np.ones((12, 2)))
    for reader in (several, open_pyramid(tmp_path / "c.h5", images)):
        with pytest.raises(ToolError, match="one class for each image"):
            export_images(reader, tmp_path / "x", "folder-by-class")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("form", FORMS)
def test_an_export_says_which_facts_it_leaves_out(with_facts, tmp_path, form):
    out = tmp_path / ("o.zip" if form == "zip" else "o")
    result = CliRunner().invoke(main, ["export", str(with_facts.path), "--to", form, "-o", str(out)])
    assert result.exit_code == 0, result.stderr
    said = f"left out, for {form} has no place for it: landmarks, quality_score, source_name"
    assert (said in result.stderr) == (form not in ("webdataset", "mds", "imagefolder"))
