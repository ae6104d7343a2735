"""Landmarks are looked for on the face turned upright, and come back into the photo's pixels."""

import numpy as np
import pytest

from celebahq.align.geometry import crop_quad, quad_side
from celebahq.align.landmarks import UprightPatch, five_landmarks

FACE = np.array([[0, 0], [40, 0], [20, 20], [5, 40], [35, 40]], float)


def test_five_points_come_from_the_68_as_means_of_the_eyes():
    points = np.zeros((68, 2))
    points[36:42] = [[0, 0], [2, 0], [4, 0], [0, 6], [2, 6], [4, 6]]
    points[42:48, 0] = 30
    points[[30, 48, 54]] = [[1, 2], [3, 4], [5, 6]]
    assert five_landmarks(points).tolist() == [[2, 3], [30, 0], [1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("degrees", [0, 90, 200])
@pytest.mark.parametrize("shrink", [0.5, 1, 3])
def test_a_patch_shows_what_is_at_the_points_it_names(degrees, shrink):
    y, x = np.mgrid[:400, :500]
    photo = np.stack([x // 2, y // 2, 0 * x], axis=2).astype(np.uint8)  # the colour says the place
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    quad = crop_quad((FACE - FACE.mean(axis=0)) @ turn + [250, 200])
    patch = UprightPatch(photo, quad, quad_side(quad) / shrink)
    points = np.array([[0.2, 0.3], [0.5, 0.5], [0.7, 0.25]]) * len(patch.picture)
    rows, columns = np.rint(points[:, ::-1]).astype(int).T
    seen = patch.picture[rows, columns, :2] * 2.0
    # Colours are whole numbers of two pixels each; the mean over a reduced pixel adds half of one.
    assert np.abs(seen - patch.to_photo(np.column_stack([columns, rows]).astype(float))).max() < 3


def test_what_lies_outside_the_photo_is_black():
    photo = np.full((100, 100, 3), 200, np.uint8)
    patch = UprightPatch(photo, crop_quad(FACE + np.array([-10, 30])), 64.0)
    assert set(np.unique(patch.picture[:, :5])) == {0}
    assert patch.picture[48, 60].tolist() == [200, 200, 200]
