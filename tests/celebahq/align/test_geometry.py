"""The quad agrees with the published formula and moves with the face."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celebahq import ToolError, crop_quad
from celebahq.align.geometry import inside_mask, outside_share, quad_roll, quad_side

GOLDEN = Path(__file__).parents[2] / "golden" / "alignment"
FACE = np.array([[100.0, 120], [160, 118], [130, 150], [108, 180], [152, 181]])


def test_quads_equal_the_reference_numbers():
    golden = np.load(GOLDEN / "quads.npz")
    quads = np.stack([crop_quad(landmarks) for landmarks in golden["landmarks"]])
    np.testing.assert_allclose(quads, golden["quad"], rtol=1e-9)
    np.testing.assert_allclose([1024 / quad_side(quad) for quad in quads], golden["zoom"], rtol=1e-9)


def test_an_upright_symmetric_face_gives_the_square_that_the_formula_says():
    # Eyes 60 apart; eyes to mouth 50; the half pixel is the difference between index and edge coordinates.
    landmarks = [[100, 100], [160, 100], [130, 130], [110, 150], [150, 150]]
    left, top, side = 130.5 - 120, 100.5 + 5 - 120, 240
    expected = [[left, top], [left, top + side], [left + side, top + side], [left + side, top]]
    np.testing.assert_allclose(crop_quad(landmarks), expected, atol=1e-9)


@given(angle=st.floats(-np.pi, np.pi), scale=st.floats(0.1, 20), dx=st.floats(-500, 500))
def test_the_quad_turns_scales_and_moves_with_the_face(angle, scale, dx):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (FACE + 0.5) @ turn.T + [dx, -dx]
    np.testing.assert_allclose(crop_quad(moved - 0.5), crop_quad(FACE) @ turn.T + [dx, -dx], atol=1e-6)


def test_a_mirrored_face_gives_the_mirrored_quad():
    mirrored = FACE[[1, 0, 2, 4, 3]] * [-1, 1] + [300, 0]
    expected = crop_quad(FACE)[[3, 2, 1, 0]] * [-1, 1] + [301, 0]
    np.testing.assert_allclose(crop_quad(mirrored), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("landmarks", "error"),
    [
        (np.zeros((5, 2)), ToolError),
        (np.full((5, 2), np.nan), ToolError),
        ([[0, 0], [10, 0], [5, 5], [5, -10], [5, -10]], ToolError),  # mouth above: the axes cancel out
        (np.zeros((68, 2)), ValueError),
    ],
)
def test_points_without_a_square_are_refused(landmarks, error):
    with pytest.raises(error, match="landmarks"):
        crop_quad(landmarks)


@pytest.mark.parametrize(
    ("corner", "expected"), [((0, 0), 0), ((-50, 0), 0.5), ((50, 30), 1 - 0.5 * 0.7), ((150, 20), 1)]
)
def test_the_share_outside_is_that_of_the_areas(corner: tuple[int, int], expected: float):
    square = np.array([[0.0, 0], [0, 100], [100, 100], [100, 0]]) + corner
    assert outside_share(square, 100, 100) == pytest.approx(expected)
    assert outside_share(square[::-1], 100, 100) == pytest.approx(expected)


def test_the_share_outside_of_a_turned_square_is_what_counting_points_gives():
    quad = crop_quad(FACE)
    height, width = 190, 150
    grid = (np.arange(200) + 0.5) / 200
    points = quad[0] + grid[:, None, None] * (quad[3] - quad[0]) + grid[None, :, None] * (quad[1] - quad[0])
    counted = 1 - ((points >= 0) & (points < [width, height])).all(axis=2).mean()
    assert outside_share(quad, height, width) == pytest.approx(counted, abs=0.01)  # the grid's fineness
    assert inside_mask(quad, height, width, 200).mean() == pytest.approx(1 - counted, abs=1e-12)


def test_the_pixels_inside_are_where_the_photo_is():
    square = np.array([[-20.0, 10], [-20, 50], [20, 50], [20, 10]])
    assert inside_mask(square, 100, 100, 4).tolist() == [[False, False, True, True]] * 4
    assert inside_mask(square, 40, 100, 4).tolist() == [[False, False, True, True]] * 3 + [[False] * 4]


@pytest.mark.parametrize("degrees", [-170, -90, 0, 1, 45, 179])
def test_a_quads_roll_is_that_of_the_face(degrees):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    face = np.array([[-20, -20], [20, -20], [0, 0], [-15, 20], [15, 20]], float)
    assert quad_roll(crop_quad(face @ turn)) == pytest.approx(degrees, abs=1e-9)


@pytest.mark.parametrize(
    ("quad", "share"),
    [
        ([[10, 10], [10, 50], [50, 50], [50, 10]], 0),
        ([[-20, 10], [-20, 50], [20, 50], [20, 10]], 0.5),
        ([[-20, -20], [-20, 20], [20, 20], [20, -20]], 0.75),
        ([[80, 40], [80, 80], [120, 80], [120, 40]], 0.625),  # 20 of 40 columns, 30 of 40 rows are inside
        ([[200, 200], [200, 240], [240, 240], [240, 200]], 1),
        ([[0, -10], [-10, 0], [0, 10], [10, 0]], 0.75),  # turned by 45 degrees about the photo's corner
        ([[-100, -100], [-100, 200], [200, 200], [200, -100]], 1 - 7000 / 90000),  # around the photo
    ],
)
def test_the_share_outside_is_that_of_the_area(quad, share):
    assert outside_share(np.array(quad, float), 70, 100) == pytest.approx(share, abs=1e-12)
