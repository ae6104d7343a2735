"""The fast Gaussian equals sums in SciPy 0.19.1's order, and today's scipy.ndimage where that keeps it."""

import math

import numpy as np
import pytest
from scipy import ndimage

from celebahq.legacy import gaussian as module
from celebahq.legacy.gaussian import correlate, gaussian, gaussian_kernel


def in_order(plane, kernel):
    """Columns, tap by tap: the centre, then pairs from the outermost inwards; float32 at the end."""
    radius = len(kernel) // 2
    padded = np.pad(plane.astype(np.float64), ((radius, radius), (0, 0)), mode="symmetric")
    height = len(plane)
    total = padded[radius : radius + height] * kernel[radius]
    for i in range(radius):
        total = (
            total + (padded[i : i + height] + padded[2 * radius - i : 2 * radius - i + height]) * kernel[i]
        )
    return total.astype(np.float32)


@pytest.fixture
def plane():
    rng = np.random.default_rng(0)
    plane = ndimage.zoom(rng.integers(0, 256, (40, 50)), 8, order=1).astype(np.float32)
    plane[:60] = 0  # black: sums of exactly zero
    plane[100:140, ::2] = 255
    return plane


@pytest.mark.parametrize("sigma", [0.9, 6.3, 38.5])
def test_equals_sums_in_the_old_order(plane, sigma):
    kernel = gaussian_kernel(sigma)
    np.testing.assert_array_equal(correlate(plane, kernel), in_order(plane, kernel))
    both = in_order(np.ascontiguousarray(in_order(plane, kernel).T), kernel).T
    np.testing.assert_array_equal(gaussian(plane, sigma), both)


def test_kernels_wider_than_the_picture_mirror_it_repeatedly():
    plane = np.random.default_rng(3).integers(0, 256, (7, 5)).astype(np.float32)
    kernel = gaussian_kernel(5.0)
    np.testing.assert_array_equal(correlate(plane, kernel), in_order(plane, kernel))


@pytest.fixture
def doubtful(monkeypatch):
    """How many sums were in doubt, call by call."""
    counts = []
    ordered_sums = module._ordered_sums

    def counted(window, rows, columns, kernel):
        counts.append(len(rows))
        return ordered_sums(window, rows, columns, kernel)

    monkeypatch.setattr(module, "_ordered_sums", counted)
    return counts


def test_every_sum_in_doubt_is_settled_in_order(plane, doubtful, monkeypatch):
    """With all sums declared doubtful, none is a matrix product's."""
    kernel = gaussian_kernel(4.0)
    expected = in_order(plane, kernel)
    monkeypatch.setattr(module, "SLACK_PER_TAP", 1.0)
    np.testing.assert_array_equal(correlate(plane, kernel), expected)
    assert sum(doubtful) == np.count_nonzero(expected)  # zeros are exact in any order


def test_few_sums_are_in_doubt(plane, doubtful):
    correlate(plane, gaussian_kernel(38.5))
    assert sum(doubtful) < 1e-3 * plane.size


def test_the_kernel_is_a_gaussian_cut_off_at_four_sigma():
    sigma = 7.3
    kernel = gaussian_kernel(sigma)
    radius = int(4 * sigma + 0.5)
    assert len(kernel) == 2 * radius + 1
    np.testing.assert_array_equal(kernel, kernel[::-1])
    assert math.fsum(kernel) == pytest.approx(1, abs=1e-14)
    x = np.arange(-radius, radius + 1)
    expected = np.exp(-0.5 * (x / sigma) ** 2)
    np.testing.assert_allclose(kernel, expected / expected.sum(), rtol=1e-12)


def test_close_to_todays_scipy(plane):
    """SciPy's own kernel is summed differently: equal up to float32 rounding."""
    theirs = ndimage.gaussian_filter(plane, 12.0, truncate=4.0)
    np.testing.assert_allclose(gaussian(plane, 12.0), theirs, rtol=3e-7, atol=1e-6)
