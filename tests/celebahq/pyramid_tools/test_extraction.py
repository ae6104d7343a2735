import os
import shutil

import numpy as np
import pytest
from PIL import Image

from celebahq.errors import ToolError
from celebahq.pictures.grids import image_grid
from celebahq.pyramid import PyramidReader, PyramidWriter, mip_levels
from celebahq.pyramid_tools import extraction
from celebahq.pyramid_tools.extraction import extract_images, write_sheet


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)


def open_pyramid(path, images):
    with PyramidWriter(path, 32, images.shape[1]) as writer:
        writer.append(images)
    return PyramidReader(path)


def decode(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_pictures_are_the_images(images, tmp_path):
    reader = open_pyramid(tmp_path / "a.h5", images)
    paths = extract_images(reader, tmp_path / "out", indices=[3, 7, 8])
    assert [path.name for path in paths] == ["00000003.png", "00000007.png", "00000008.png"]
    np.testing.assert_array_equal(decode(paths[1]), images[7].transpose(1, 2, 0))
    extract_images(reader, tmp_path / "small", indices=[7], resolution=8)
    np.testing.assert_array_equal(
        decode(tmp_path / "small" / "00000007.png"), mip_levels(images)[2][7].transpose(1, 2, 0)
    )


def test_grey_pictures_are_grey(images, tmp_path):
    reader = open_pyramid(tmp_path / "a.h5", images[:, :1])
    (path,) = extract_images(reader, tmp_path / "out", indices=[3])
    np.testing.assert_array_equal(decode(path), images[3, 0])


def test_nothing_is_replaced(images, tmp_path):
    reader = open_pyramid(tmp_path / "a.h5", images)
    (path,) = extract_images(reader, tmp_path / "out", indices=[3], resolution=8)
    there = path.read_bytes()
    with pytest.raises(ToolError, match=r"00000003\.png: exists already, with other content"):
        extract_images(reader, tmp_path / "out", indices=[2, 3])
    assert list((tmp_path / "out").iterdir()) == [path]
    assert path.read_bytes() == there


def test_killed_while_it_puts_pictures_into_a_folder_it_goes_on(images, tmp_path, monkeypatch):
    reader = open_pyramid(tmp_path / "a.h5", images)
    expected = [path.read_bytes() for path in extract_images(reader, tmp_path / "anew", indices=range(10))]
    out = tmp_path / "out"
    out.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(extraction.os, "replace", dies_at_the_fourth(os.replace))
        patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)  # the dead clean nothing up
        with pytest.raises(KeyboardInterrupt):
            extract_images(reader, out, indices=range(10))
    assert len(list(out.iterdir())) == 3
    assert (tmp_path / "out.extracted.partial").exists()
    paths = extract_images(reader, out, indices=range(10))
    assert [path.read_bytes() for path in paths] == expected
    assert {path.name for path in tmp_path.iterdir()} == {"a.h5", "anew", "out"}


def dies_at_the_fourth(replace):
    done = []

    def step(*names):
        done.append(names)
        if len(done) == 4:
            raise KeyboardInterrupt
        replace(*names)

    return step


@pytest.mark.parametrize("there", [False, True])
def test_interrupted_it_leaves_no_picture_and_begins_anew(images, tmp_path, there):
    reader = open_pyramid(tmp_path / "a.h5", images)
    out = tmp_path / "out"
    if there:
        out.mkdir()
    seen = []

    def interrupt_at_the_third():
        seen.append(None)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_images(reader, out, indices=range(10), on_image=interrupt_at_the_third)
    assert out.exists() == there
    assert {path.name for path in tmp_path.iterdir()} <= {"a.h5", "out"}
    assert not list(out.glob("*"))
    extract_images(reader, out, indices=range(10))
    assert len(list(out.iterdir())) == 10


def test_a_run_that_was_killed_does_not_stand_in_the_way(images, tmp_path):
    reader = open_pyramid(tmp_path / "a.h5", images)
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "00000007.png").write_bytes(b"half")  # as after a kill
    extract_images(reader, tmp_path / "out", indices=[3])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["00000003.png"]
    assert not (tmp_path / "out.partial").exists()


def test_pictures_are_added_to_a_folder_that_is_there(images, tmp_path):
    reader = open_pyramid(tmp_path / "a.h5", images)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    extract_images(reader, tmp_path / "out", indices=[2, 3])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"00000002.png", "00000003.png", "mine.txt"}
    assert {path.name for path in tmp_path.iterdir()} == {"a.h5", "out"}


def test_what_the_file_has_not_is_said(images, tmp_path):
    reader = open_pyramid(tmp_path / "a.h5", images)
    with pytest.raises(ToolError, match="has the images 0-9, but not 10"):
        extract_images(reader, tmp_path / "out", indices=[2, 10])
    with pytest.raises(ToolError, match="has no level of 48 pixels, but 32, 16, 8, 4, 2, 1"):
        extract_images(reader, tmp_path / "out", indices=[2], resolution=48)
    assert not (tmp_path / "out").exists()


def test_a_sheet_shows_the_whole_file_or_what_was_asked_for(images, tmp_path):
    reader = open_pyramid(tmp_path / "a.h5", images)
    assert write_sheet(reader, tmp_path / "few.png", num=5) == 5
    np.testing.assert_array_equal(decode(tmp_path / "few.png"), image_grid(images[::2], columns=3))
    assert write_sheet(reader, tmp_path / "all.png") == 10
    assert write_sheet(reader, tmp_path / "own.png", indices=[9, 0], columns=1, resolution=16) == 2
    np.testing.assert_array_equal(
        decode(tmp_path / "own.png")[:16].transpose(2, 0, 1), mip_levels(images)[1][9]
    )
    with pytest.raises(ToolError, match="exists already"):
        write_sheet(reader, tmp_path / "own.png")
