"""The QUAD transform equals a direct evaluation of Pillow 3.1.1's formula."""

import numpy as np
import pytest

from celebahq.legacy.quad import transform_quad


def reference(image, quad, side):
    """The bilinear map at integer output positions; differences in float32, the rest in double."""
    height, width, _ = image.shape
    nw, sw, se, ne = quad
    a0 = nw.astype(np.float64)
    a1 = np.float64(ne - nw) / side
    a2 = np.float64(sw - nw) / side
    a3 = np.float64(se - sw - ne + nw) / side / side
    y, x = np.mgrid[:side, :side].astype(np.float64)
    source_x, source_y = (a0[i] + a1[i] * x + a2[i] * y + a3[i] * x * y for i in range(2))
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
    left, top = np.floor(source_x - 0.5), np.floor(source_y - 0.5)
    dx, dy = (source_x - 0.5 - left)[..., None], (source_y - 0.5 - top)[..., None]

    def at(row, column):
        rows = np.clip(row, 0, height - 1).astype(int)
        return image[rows, np.clip(column, 0, width - 1).astype(int)].astype(np.float64)

    above = at(top, left) + (at(top, left + 1) - at(top, left)) * dx
    below = at(top + 1, left) + (at(top + 1, left + 1) - at(top + 1, left)) * dx
    value = above + (below - above) * dy
    return np.where(inside[..., None], np.trunc(value), 0).astype(np.uint8)


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_formula(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    center, arm = np.array([40, 30]) + rng.normal(0, 8, 2), rng.normal(0, 20, 2)
    turned = np.array([-arm[1], arm[0]])
    quad = np.float32(
        [center - arm - turned, center - arm + turned, center + arm + turned, center + arm - turned]
    )
    np.testing.assert_array_equal(transform_quad(image, quad, 256), reference(image, quad, 256))


def test_a_quad_that_is_no_parallelogram():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    quad = np.float32([[5.3, 3.1], [2.7, 50.9], [70.2, 55.5], [60.6, 8.4]])
    np.testing.assert_array_equal(transform_quad(image, quad, 128), reference(image, quad, 128))


def test_pixels_are_sampled_half_a_pixel_up_and_left():
    """What distinguishes the procedure from an exact one: output 0, 0 is the quad's corner itself."""
    image = np.tile(
        np.arange(0, 160, 2, dtype=np.uint8)[None, :, None], (80, 1, 3)
    )  # 2 x + 1 at x, in pixel edges
    quad = np.float32([[8, 8], [8, 40], [40, 40], [40, 8]])
    row = transform_quad(image, quad, 32)[5, :, 0]
    np.testing.assert_array_equal(row, 2 * np.arange(8, 40) - 1)
