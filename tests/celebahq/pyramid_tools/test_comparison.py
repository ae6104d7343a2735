import numpy as np
import pytest

from celebahq.pyramid import PyramidWriter
from celebahq.pyramid_tools.comparison import compare_pyramids, render_comparison


@pytest.fixture
def images(rng):
    return rng.integers(0, 200, (9, 3, 32, 32), dtype=np.uint8)


def write(path, images, labels=None, meta=None, **options):
    with PyramidWriter(path, images.shape[2], images.shape[1], **options) as writer:
        writer.append(images, labels, meta)
    return path


def test_equal_files_in_different_codecs_are_the_same(images, tmp_path):
    a = write(tmp_path / "a.h5", images, np.eye(9))
    b = write(tmp_path / "b.h5", images, np.eye(9), codec="none")
    comparison = compare_pyramids(a, b)
    assert comparison.same_data
    assert comparison.provenance_equal
    assert [level.first for level in comparison.levels] == [None] * 6
    assert "same images and labels" in render_comparison(comparison).splitlines()


def test_differences_are_measured(images, tmp_path):
    changed = images.copy()
    changed[5, 0, 0, 0] += 10
    changed[7, 0, 0, 0] += 40
    comparison = compare_pyramids(write(tmp_path / "a.h5", images), write(tmp_path / "b.h5", changed))
    top = comparison.levels[0]
    assert (top.differing_images, top.first, top.largest) == (2, 5, 40)
    assert top.mean == pytest.approx(50 / images.size)
    assert comparison.levels[1].largest in (10, 11)  # a quarter of 40, rounded on both sides
    assert not comparison.same_data
    assert render_comparison(comparison).splitlines()[-1] == "NOT the same images and labels"


def test_facts_and_provenance_do_not_make_other_data(images, tmp_path):
    a = write(tmp_path / "a.h5", images, meta={"name": list("abcdefghi"), "x": [1] * 9})
    b = write(tmp_path / "b.h5", images, meta={"name": list("abcdefghj"), "y": [1] * 9}, provenance={"a": 1})
    comparison = compare_pyramids(a, b)
    assert comparison.meta_differs == ["name", "x", "y"]
    assert not comparison.provenance_equal
    assert comparison.same_data


def test_other_labels_make_other_data(images, tmp_path):
    a = write(tmp_path / "a.h5", images, np.eye(9))
    assert not compare_pyramids(a, write(tmp_path / "b.h5", images)).same_data
    assert not compare_pyramids(a, write(tmp_path / "c.h5", images, np.eye(9)[::-1])).same_data


def test_other_counts_and_sizes_are_compared_as_far_as_they_go(images, tmp_path):
    a = write(tmp_path / "a.h5", images)
    b = write(tmp_path / "b.h5", images[:4, :, ::2, ::2])
    comparison = compare_pyramids(a, b)
    assert (comparison.images, comparison.resolutions) == ((9, 4), (32, 16))
    assert [level.resolution for level in comparison.levels] == [16, 8, 4, 2, 1]
    assert not comparison.same_data
    assert "images: 9 and 4" in render_comparison(comparison)


def test_grey_and_colour_have_nothing_to_compare(images, tmp_path):
    a = write(tmp_path / "a.h5", images)
    comparison = compare_pyramids(a, write(tmp_path / "b.h5", images[:, :1]))
    assert comparison.levels == []
    assert not comparison.same_data
