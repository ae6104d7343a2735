import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from celebahq.restore import likeness
from celebahq.restore.likeness import Likeness, describe_likeness, measure_likeness

PHOTO = np.random.default_rng(0).integers(20, 200, (40, 50, 3), np.uint8)


def test_psnr_of_a_known_error():
    assert measure_likeness(PHOTO, PHOTO + 5).psnr_db == pytest.approx(10 * np.log10(255**2 / 25))


def test_ssim_is_the_published_formula_over_7x7_windows():
    other = (PHOTO * 0.7 + 20).astype(np.uint8)
    values = []
    for channel in range(3):
        a, b = (picture[..., channel].astype(np.float64) for picture in (PHOTO, other))
        mean_a, mean_b = uniform_filter(a, 7), uniform_filter(b, 7)
        unbiased = 49 / 48
        var_a = (uniform_filter(a * a, 7) - mean_a**2) * unbiased
        var_b = (uniform_filter(b * b, 7) - mean_b**2) * unbiased
        cov = (uniform_filter(a * b, 7) - mean_a * mean_b) * unbiased
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        ssim = (
            (2 * mean_a * mean_b + c1)
            * (2 * cov + c2)
            / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
        )
        values.append(ssim[3:-3, 3:-3].mean())
    assert measure_likeness(PHOTO, other).ssim == pytest.approx(np.mean(values))


def test_equal_pictures_and_small_ones():
    assert measure_likeness(PHOTO, PHOTO) == Likeness(None, 1.0)
    small = measure_likeness(PHOTO[:6], PHOTO[:6] + 1)
    assert small.ssim is None
    assert describe_likeness(small) == "PSNR 48.1 dB"
    assert describe_likeness(Likeness(None, 1.0)) == "equal, SSIM 1.000"


def test_of_large_pictures_the_middle_counts(monkeypatch):
    monkeypatch.setattr(likeness, "MOST_PX", 20)
    other = PHOTO.copy()
    other[:10] = 0
    other[:, :15] = 0
    assert measure_likeness(PHOTO, other) == Likeness(None, 1.0)
