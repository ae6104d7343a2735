"""The padding at reduced scale agrees with the same formulas at full size."""

import bench_geometry as bench
import numpy as np
import pytest
import skimage.data

from celebahq.align.padding import edge_pads, pad_and_blend


@pytest.mark.parametrize(
    ("centre", "side", "angle"),
    [
        ((200, 60), 330, 20),
        ((10, 256), 420, -35),
        ((500, 500), 260, 160),
        ((256, 256), 900, 5),
        ((300, 20), 60, 0),
    ],
)
def test_padding_is_within_two_grey_levels_of_the_full_size_computation(centre, side, angle):
    photo = skimage.data.astronaut()
    quad = bench.square(centre, side, angle)
    border = max(round(0.1 * side), 3)
    window, window_quad = pad_and_blend(photo, quad, border)
    whole, whole_quad = bench.exact_padding(photo, quad, border)
    x, y = np.rint(whole_quad[0] - window_quad[0]).astype(int)
    np.testing.assert_allclose(window_quad + np.array([x, y]), whole_quad)
    difference = np.abs(whole[y : y + window.shape[0], x : x + window.shape[1]].astype(int) - window)
    assert difference.max() <= 2
    assert difference.mean() < 0.1  # tenths of the pixels in the faded part round the other way


def test_a_crop_that_stays_inside_is_left_alone():
    photo = skimage.data.astronaut()
    quad = bench.square((256, 256), 200, 10)
    padded, same_quad = pad_and_blend(photo, quad, 20)
    assert padded is photo
    assert same_quad is quad


def test_pads_follow_the_overhang_and_all_rise_to_three_tenths():
    # Bounding box (-50, 100, 150, 300) in 400 x 400: overhang 50 on the left only; border 20.
    quad = bench.square((50, 200), 200, 0)
    np.testing.assert_array_equal(edge_pads(400, 400, quad, 20), [70, 60, 60, 60])
    # A distance of border - (border - 4) = 4 pixels to the edge is enough.
    assert edge_pads(400, 400, bench.square((104, 200), 200, 0), 20) is None
    np.testing.assert_array_equal(edge_pads(400, 400, bench.square((103, 200), 200, 0), 20), [60] * 4)


def test_a_single_colour_stays_that_colour():
    photo = np.full((90, 120, 3), (200, 3, 255), np.uint8)
    padded, _ = pad_and_blend(photo, bench.square((110, 80), 100, 30), 10)
    assert (padded == photo[0, 0]).all()


def test_far_outside_the_photo_it_is_nearly_the_median_colour():
    photo = np.zeros((100, 100, 3), np.uint8)
    photo[:, :30] = 255
    quad = bench.square((150, 50), 200, 0)
    padded, quad = pad_and_blend(photo, quad, 20)
    # The crop ends 150 px outside, of a pad of 170: the blur (up to 255) has faded to 20 / 170 of itself.
    assert padded[:, -1].max() <= 255 * 20 / 170 + 1
    assert padded[:, -20:].mean() < 5
