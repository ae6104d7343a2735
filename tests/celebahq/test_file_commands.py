"""The commands on data set files, as a person runs them."""

import json

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from celebahq.cli import main
from celebahq.pyramid import PyramidWriter


@pytest.fixture
def path(rng, tmp_path):
    with PyramidWriter(tmp_path / "a.h5", 32) as writer:
        writer.append(rng.integers(0, 256, (10, 3, 32, 32), dtype=np.uint8), labels=np.eye(10))
    return tmp_path / "a.h5"


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_inspect(path):
    assert "10 images 32x32 RGB" in run("inspect", path).stdout
    result = run("inspect", path, "--json")
    assert json.loads(result.stdout)["images"] == 10


def test_verify(path):
    result = run("verify", path, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"file": str(path), "problems": []}
    with h5py.File(path, "r+") as file:
        file["data8x8"][3] = 0
    result = run("verify", path)
    assert result.exit_code == 1
    assert "data8x8: 1 images, first 3" in result.stdout
    assert result.stderr.splitlines()[-1] == f"Error: {path}: 2 problems"


def test_compare(path, tmp_path):
    result = run("compare", path, path)
    assert result.exit_code == 0
    assert result.stdout.endswith("same images and labels\n")
    with PyramidWriter(tmp_path / "b.h5", 32) as writer:
        writer.append(np.zeros((10, 3, 32, 32), np.uint8))
    result = run("compare", path, tmp_path / "b.h5", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["levels"][0]["differing_images"] == 10


def test_extract_and_sheet(path, tmp_path):
    assert run("extract", path, "-o", tmp_path / "out", "--indices", "0-2,9").exit_code == 0
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert run("sheet", path, "-o", tmp_path / "sheet.png", "--columns", "5").exit_code == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (160, 64)


@pytest.mark.parametrize("form", ["zip", "folder", "tfrecord"])
def test_export(path, tmp_path, form):
    out = tmp_path / ("out.zip" if form == "zip" else "out")
    first = run("export", path, "--to", form, "-o", out)
    assert first.exit_code == 0
    assert f"{out}: 10 images" in first.stderr
    result = run("export", path, "--to", form, "-o", out)
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    again = run("export", path, "--to", form, "-o", out, "--overwrite")
    assert again.exit_code == (0 if form == "zip" else 1)  # a folder is never replaced
    assert ("remove it" in again.stderr) == (form != "zip")


def test_a_file_of_another_kind_is_one_line(tmp_path):
    (tmp_path / "a.h5").write_text("no")
    for command in ("inspect", "verify"):
        result = run(command, tmp_path / "a.h5")
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: {tmp_path / 'a.h5'}: not a readable HDF5 file")
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "out", "complaint"),
    [
        ("extract", "a.h5", "is a file"),
        ("sheet", "folder", "is a directory"),
        ("sheet", "sheet.txt", "does not end in .png"),
        ("sheet", "sheet", "does not end in .png"),
        ("extract", "x.png", "a folder is written"),
        ("select", "x.zip", "does not end in .h5 or .hdf5; an HDF5 file is written"),
        ("export --to zip", "x", "does not end in .zip"),
        ("export --to zip", "x.h5", "does not end in .zip"),
        ("export --to folder", "x.zip", "a folder is written"),
        ("export --to tfrecord", "x.tfrecord", "a folder is written"),
    ],
)
def test_outputs_that_cannot_be_are_wrong_usage(path, tmp_path, command, out, complaint):
    (tmp_path / "folder").mkdir()
    result = run(*command.split(), path, "-o", tmp_path / out)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.h5", "folder"]


@pytest.mark.parametrize("command", [("extract",), ("export", "--to", "folder")])
def test_a_file_in_the_place_of_a_folder_is_named(path, command):
    result = run(command[0], path, *command[1:], "-o", path / "below")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"Error: {path}")
    assert "not a folder, so that nothing can be written in it" in result.stderr


def test_what_the_system_refuses_is_said_without_its_number(path, tmp_path):
    out = tmp_path / ("x" * 300)
    result = run("export", path, "--to", "folder", "-o", out)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {out}: File name too long"


@pytest.mark.parametrize(
    "arguments",
    [
        ("sheet", "{path}", "-o", "{out}.png"),
        ("extract", "{path}", "-o", "{out}"),
        ("export", "{path}", "--to", "zip", "-o", "{out}.zip"),
        ("export", "{path}", "--to", "folder", "-o", "{out}"),
        ("export", "{path}", "--to", "tfrecord", "-o", "{out}"),
        ("import", "hdf5", "{path}", "-o", "{out}.h5"),
    ],
)
def test_a_file_without_images_is_told(tmp_path, arguments):
    path = tmp_path / "empty.h5"
    with h5py.File(path, "w") as file:
        for side in (4, 2, 1):
            file[f"data{side}x{side}"] = np.zeros((0, 3, side, side), np.uint8)
        file["labels"] = np.zeros((0, 10), np.float32)
    result = run(*(argument.format(path=path, out=tmp_path / "out") for argument in arguments))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] in (f"Error: {path}: has no images", f"Error: {path}: no images")
    assert list(tmp_path.iterdir()) == [path]


def test_a_sheet_that_no_one_could_open_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.setattr("celebahq.pyramid_tools.extraction.MAX_SHEET_PIXELS", 10 * 32 * 32 - 1)
    result = run("sheet", path, "-o", tmp_path / "sheet.png", "--resolution", 32)
    assert result.exit_code == 1
    assert "10 images of 32x32 are more than 10,239 pixels; show fewer, or at a lower" in result.stderr
    assert run("sheet", path, "-o", tmp_path / "sheet.png", "--resolution", 16).exit_code == 0
