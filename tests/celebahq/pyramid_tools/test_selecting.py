"""A selection holds the images that were asked for, as they were stored, with their labels and facts."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from celebahq import PyramidReader, PyramidWriter, ToolError, mip_levels
from celebahq.cli import main
from celebahq.formats.manifest import MANIFEST, Manifest, Part, write_manifest
from celebahq.pyramid import level_name
from celebahq.pyramid_tools.selecting import Selection, best_first, choose_images, select_images
from celebahq.pyramid_tools.verification import verify_pyramid

COUNT = 70  # more than one chunk of the small levels
SCORES = np.sin(np.arange(COUNT) * 1.7)


@pytest.fixture(scope="module")
def images():
    smooth = np.linspace(0, 200, 32 * 32).reshape(32, 32)
    return (smooth + np.arange(COUNT * 3).reshape(COUNT, 3, 1, 1) / 5).astype(np.uint8)


@pytest.fixture(scope="module", params=["gzip", "none", "lzf"])
def reader(request, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("selecting") / "faces.h5"
    provenance = {"label_names": ["even", "third"]}
    with PyramidWriter(path, 32, codec=request.param, provenance=provenance) as writer:
        labels = np.stack([np.arange(COUNT) % 2 == 0, np.arange(COUNT) % 3 == 0], axis=1)
        meta = {
            "source_name": [f"{i:03d}.jpg" for i in range(COUNT)],
            "quality_score": SCORES,
            "landmarks": np.arange(COUNT * 10.0).reshape(COUNT, 5, 2),
        }
        writer.append(images, labels.astype(np.float32), meta)
    return PyramidReader(path)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(indices=[5, 3, 60]), [5, 3, 60]),
        (Selection(names=["003.jpg", "001.jpg"]), [1, 3]),
        (Selection(exclude=["000.jpg"]), list(range(1, COUNT))),
        (Selection(min_score=0.5), np.flatnonzero(SCORES >= 0.5)),
        (Selection(min_score=-0.5, max_score=0.5), np.flatnonzero(np.abs(SCORES) <= 0.5)),
        (Selection(labels=[("even", 1), ("third", 0)]), [i for i in range(COUNT) if i % 2 == 0 and i % 3]),
        (Selection(labels=[("1", 1)]), range(0, COUNT, 3)),
        (Selection(best=4), sorted(np.argsort(-SCORES)[:4])),
        (
            Selection(labels=[("even", 1)], best=3),
            sorted(sorted(range(0, COUNT, 2), key=lambda i: -SCORES[i])[:3]),
        ),
    ],
)
def test_the_images_that_meet_all_conditions_are_chosen(reader, selection, expected):
    assert choose_images(reader, selection) == list(expected)


def test_a_selection_has_the_stored_bytes_the_labels_and_the_facts(reader, images, tmp_path):
    out = tmp_path / "some.h5"
    chosen = [9, 2, 69, 33, 32]
    assert select_images(reader, out, Selection(indices=chosen)) == 5
    assert verify_pyramid(out) == []
    with PyramidReader(out) as some:
        for level in mip_levels(images):
            np.testing.assert_array_equal(some.read(range(5), level.shape[2]), level[chosen])
        np.testing.assert_array_equal(some.labels, reader.labels[chosen])
        assert some.meta_names == reader.meta_names
        for name in some.meta_names:
            np.testing.assert_array_equal(some.meta(name), reader.meta(name)[chosen])
        before, after = (each.files[0].facts["levels"][level_name(32)] for each in (reader, some))
        assert (before["filters"], before["chunks"]) == (after["filters"], after["chunks"])
        (old, _), (new, _) = reader.files[0].located(32), some.files[0].located(32)
        assert new.sizes.tolist() == old.sizes[chosen].tolist()
        assert some.provenance["from"] == reader.provenance
        assert some.provenance["selection"] == {"indices": chosen}


def test_what_cannot_be_chosen_is_told(reader, images, tmp_path):
    for selection, complaint in [
        (Selection(indices=[COUNT]), "has the images 0-69, but not 70"),
        (Selection(names=["gone.jpg"]), r"1 names are not in it \(gone.jpg"),
        (Selection(labels=[("blond", 1)]), "no label blond; there are 2 columns: even, third"),
        (Selection(min_score=9), "no image meets all that is asked for"),
    ]:
        with pytest.raises(ToolError, match=complaint):
            select_images(reader, tmp_path / "x.h5", selection)
    bare = tmp_path / "bare.h5"
    with PyramidWriter(bare, 32) as writer:
        writer.append(images)
    for selection, complaint in [
        (Selection(best=1), "has no meta/quality_score"),
        (Selection(names=["a"]), "has no meta/source_name"),
        (Selection(labels=[("0", 1)]), "has no labels"),
    ]:
        with pytest.raises(ToolError, match=complaint):
            choose_images(PyramidReader(bare), selection)
    assert not (tmp_path / "x.h5").exists()


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_selects(reader, tmp_path):
    (tmp_path / "bad.txt").write_text("000.jpg\n004.jpg\n")
    out = tmp_path / "some.h5"
    options = ["--label", "even=1", "--exclude", tmp_path / "bad.txt", "--indices", "10,0-8"]
    result = run("select", reader.path, "-o", out, *options)
    assert result.exit_code == 0, result.stderr
    assert "4 of 70 images" in result.stderr
    assert PyramidReader(out).meta("source_name").tolist() == ["010.jpg", "002.jpg", "006.jpg", "008.jpg"]
    assert run("select", reader.path, "-o", out, "--best", 1).exit_code == 1
    assert run("select", reader.path, "-o", out, "--best", 1, "--overwrite").exit_code == 0
    for wrong in ("even", "=1", "even=yes"):
        result = run("select", reader.path, "-o", out, "--label", wrong)
        assert result.exit_code == 2
        assert "is not NAME=NUMBER" in result.stderr


def test_a_selection_never_replaces_what_it_is_made_of(reader, tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    parts = [folder / f"faces-{number:05d}.h5" for number in range(2)]
    for number, path in enumerate(parts):
        select_images(reader, path, Selection(indices=[number, number + 2]))
    write_manifest(Manifest(folder / MANIFEST, {}, tuple(map(Part.of, parts))))
    single = tmp_path / "single.h5"
    shutil.copy(parts[0], single)
    for given, out in ((single, single), (folder, parts[0]), (folder / MANIFEST, parts[1])):
        before = out.read_bytes()
        result = run("select", given, "-o", out, "--best", 1, "--overwrite")
        assert result.exit_code == 1
        assert f"{out}: it is made of this very file" in result.stderr
        assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "order"),
    [
        (["--indices", "5,3,3"], [5, 3, 3]),
        (["--best", "2"], np.argsort(-SCORES)[:2]),
        (["--worst", "3"], np.argsort(SCORES)[:3]),
    ],
)
def test_a_sheet_shows_images_in_the_order_asked_for(reader, images, tmp_path, options, order):
    from PIL import Image

    out = tmp_path / "sheet.png"
    result = run("sheet", reader.path, "-o", out, "--columns", 3, *options)
    assert result.exit_code == 0, result.stderr
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet)
    for place, index in enumerate(order):
        shown = pixels[:32, 32 * place : 32 * place + 32]
        np.testing.assert_array_equal(shown, images[index].transpose(1, 2, 0))
    assert run("sheet", reader.path, "-o", out, "--best", 1, "--worst", 1).exit_code == 2


def test_of_equal_scores_the_earlier_image_is_the_better(images, tmp_path):
    with PyramidWriter(tmp_path / "a.h5", 32) as writer:
        writer.append(images[:3], meta={"quality_score": [1.0, 2.0, 2.0]})
    assert best_first(PyramidReader(tmp_path / "a.h5")).tolist() == [1, 2, 0]


@pytest.mark.parametrize("names", [5, "ab", [1, 2], ["one"], {"a": 1}])
def test_names_of_labels_that_cannot_be_are_none(names, images, tmp_path):
    with PyramidWriter(tmp_path / "a.h5", 32, provenance={"label_names": names}) as writer:
        writer.append(images[:4], np.eye(2, dtype=np.float32)[[0, 1, 0, 1]])
    with PyramidReader(tmp_path / "a.h5") as reader:
        assert reader.label_names == []
        assert select_images(reader, tmp_path / "b.h5", Selection(labels=[("1", 1)])) == 2
