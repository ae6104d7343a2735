import numpy as np
import pytest

from celebahq.pictures.grids import image_grid

IMAGES = np.random.default_rng(0).integers(1, 256, (5, 3, 16, 24), np.uint8)


def test_a_grid_is_filled_row_by_row_and_then_black():
    grid = image_grid(IMAGES, columns=3)
    assert grid.shape == (32, 72, 3)
    for place in range(6):
        top, left = place // 3 * 16, place % 3 * 24
        tile = grid[top : top + 16, left : left + 24].transpose(2, 0, 1)
        np.testing.assert_array_equal(tile, IMAGES[place] if place < 5 else 0)


@pytest.mark.parametrize("columns", [1, 5, 8])
def test_grey_images_and_rows_of_any_length(columns):
    grid = image_grid(IMAGES[:, :1], columns)
    assert grid.shape == (-(-5 // columns) * 16, columns * 24, 1)
    np.testing.assert_array_equal(grid[:16, :24, 0], IMAGES[0, 0])
