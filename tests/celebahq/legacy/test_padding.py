"""The padding's mask, reflection, blend and median."""

import numpy as np
import pytest

from celebahq.legacy.padding import Pads, blend, blend_mask, median, pad_photo, reflect

PADS = Pads(left=12, top=30, right=9, bottom=21)


def test_the_mask_is_one_at_the_edges_and_zero_where_the_photo_begins():
    mask = blend_mask(100, 120, PADS)
    assert mask.dtype == np.float32
    assert mask.shape == (120, 100)
    np.testing.assert_array_equal(mask[0], 1)
    np.testing.assert_array_equal(mask[-1], 1)
    np.testing.assert_array_equal(mask[:, 0], 1)
    np.testing.assert_array_equal(mask[:, -1], 1)
    assert mask[60, 12] == 0
    assert mask[60, 100 - 1 - 9] == 0
    assert mask[30, 50] == 0
    assert mask[120 - 1 - 21, 50] == 0
    assert mask[60, 50] < 0


def test_the_mask_is_the_formula_in_float32():
    mask = blend_mask(40, 50, PADS)
    f32 = np.float32
    for y, x in [(0, 0), (17, 5), (49, 39), (33, 20), (25, 38)]:
        distances = f32(x) / f32(12), f32(y) / f32(30), f32(39 - x) / f32(9), f32(49 - y) / f32(21)
        assert mask[y, x] == f32(1) - min(distances)


@pytest.mark.parametrize("pads", [Pads(3, 2, 4, 1), Pads(40, 25, 33, 70)])
def test_reflection_is_a_triangle_wave_over_the_photo(pads):
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    padded = reflect(image, pads)
    assert padded.shape == (9 + pads.top + pads.bottom, 11 + pads.left + pads.right, 3)
    np.testing.assert_array_equal(padded[pads.top : pads.top + 9, pads.left : pads.left + 11], image)
    there_and_back = list(range(9)) + list(range(7, 0, -1))  # period 16, edges not repeated
    for y in range(padded.shape[0]):
        source = there_and_back[(y - pads.top) % 16]
        np.testing.assert_array_equal(padded[y, pads.left : pads.left + 11], image[source])


def test_a_line_of_one_pixel_is_repeated():
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    np.testing.assert_array_equal(
        reflect(image, Pads(1, 2, 1, 3))[:, 1], np.repeat(image[:, :1], 6, axis=0)[:, 0]
    )


def test_the_photo_inside_the_blend_is_untouched_and_the_edge_is_the_median():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (200, 160, 3), dtype=np.uint8)
    pads = Pads(30, 30, 30, 30)
    padded = pad_photo(image, pads, sigma=4.0)
    assert padded.dtype == np.uint8
    inner = 40  # mask below -1/3: a third of the pad inside the photo
    np.testing.assert_array_equal(
        padded[30 + inner : -30 - inner, 30 + inner : -30 - inner], image[inner:-inner, inner:-inner]
    )
    border = np.concatenate([padded[0], padded[-1], padded[:, 0], padded[:, -1]])
    assert (border == border[0]).all()


def test_a_plain_photo_stays_plain():
    image = np.full((50, 60, 3), (10, 200, 77), np.uint8)
    assert (pad_photo(image, Pads(20, 20, 20, 20), sigma=3.0) == [10, 200, 77]).all()


def test_the_median_of_an_even_count_is_a_float32_mean():
    values = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    assert median(values) == (np.float32(0.2) + np.float32(0.3)) / np.float32(2)
    assert median(np.array([[5, 1, 3]], np.float32)) == 3
    plane = np.random.default_rng(0).random((31, 44), np.float32)
    assert median(plane) == np.median(plane)


def test_blend_is_in_place_and_float32():
    plane = np.array([[10.0, 20.0]], np.float32)
    blend(plane, np.float32(30), np.array([[0.25, 0.0]], np.float32))
    assert plane.dtype == np.float32
    assert plane.tolist() == [[15.0, 20.0]]
