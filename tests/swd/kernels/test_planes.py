import numpy as np
import pytest
import torch

from swd.kernels.planes import split_planes, window_means
from swd.method.laplacian import pyr_down, pyr_up
from swd.method.msssim import _filter_axis, _gaussian_window


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 1), (3, 2), (7, 5), (64, 48), (33, 64)])
def test_levels_are_split_as_on_gpus(shape, overwrite):
    images = torch.rand(6, 1, *shape) * 255
    expected = pyr_down(images)
    enlarged = pyr_up(expected)[:, :, : shape[0], : shape[1]]
    planes = images[:, 0].clone().numpy()
    before = planes.copy()
    band, reduced = split_planes(planes, overwrite=overwrite)
    # Four units in the last place of 255 in float32.
    np.testing.assert_allclose(reduced, expected[:, 0], rtol=0, atol=6.2e-5)
    np.testing.assert_allclose(band, (images - enlarged)[:, 0], rtol=0, atol=6.2e-5)
    assert np.shares_memory(planes, band) == overwrite
    assert overwrite or np.array_equal(planes, before)


@pytest.mark.parametrize("size", [1, 6, 11])
def test_window_means_are_those_on_gpus(size):
    images = torch.rand(3, 1, 11, 23, dtype=torch.float64) * 255
    window = _gaussian_window(size, size * 1.5 / 11)
    expected = _filter_axis(_filter_axis(images, window, 2), window, 3)
    # Sums of eleven products in float64, in another order.
    np.testing.assert_allclose(window_means(images[:, 0].numpy(), window), expected[:, 0], rtol=1e-13)
