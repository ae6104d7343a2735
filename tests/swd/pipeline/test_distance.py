import math

import numpy as np
import pytest
import torch

from swd import SlicedWassersteinDistance
from swd.method.randomness import random_directions
from swd.method.wasserstein import direction_distances
from swd.pipeline.distance import LevelDistances, measure_level, summarize


def level(along, on_a, on_b):
    along, on_a, on_b = (torch.tensor(values, dtype=torch.float64) for values in (along, on_a, on_b))
    return LevelDistances(along, on_a.repeat(2, 1), on_b.repeat(2, 1), half=len(along))


@pytest.fixture
def levels():
    return [
        level([0.010, 0.014], [0.4, -0.4, 0.2, -0.2], [0.6, -0.6]),
        level([0.030, 0.034], [0.2, -0.2, 0.0, 0.0], [0.0, 0.0]),
    ]


def test_values_are_means_over_directions_times_1000(levels):
    distance = summarize(levels, [32, 16])
    assert distance.levels[32].value == pytest.approx(12)
    assert distance.levels[16].value == pytest.approx(32)
    assert distance.average.value == pytest.approx(22)


def test_error_of_directions_is_their_spread_over_the_root_of_their_number(levels):
    # The standard deviation of 10 and 14 is 4 / sqrt(2), and there are 2.
    assert summarize(levels, [32, 16]).levels[32].se_directions == pytest.approx(2)


def test_error_of_the_average_counts_that_levels_share_directions(levels):
    # Independent levels would give sqrt(2^2 + 2^2) / 2.
    assert summarize(levels, [32, 16]).average.se_directions == pytest.approx(2)


def test_error_of_images_adds_the_variances_of_both_sets(levels):
    variance_a = (2 * 0.4**2 + 2 * 0.2**2) / 3
    variance_b = 2 * 0.6**2
    expected = 1000 * math.sqrt(variance_a / 4 + variance_b / 2)
    assert summarize(levels, [32, 16]).levels[32].se_images == pytest.approx(expected)


def test_the_same_images_on_both_sides_count_once():
    only = level([0.01, 0.01], [0.4, -0.4], [-0.4, 0.4])
    assert summarize([only], [16], same_images=True).levels[16].se_images == 0
    assert summarize([only], [16]).levels[16].se_images > 0


def test_one_image_has_no_error():
    distance = summarize([level([0.01, 0.02], [0.0], [0.0])], [16])
    assert distance.average.se_images is None
    assert distance.average.se is None


def test_errors_add_in_squares(levels):
    estimate = summarize(levels, [32, 16]).average
    assert estimate.se == pytest.approx(math.hypot(estimate.se_directions, estimate.se_images))


def test_what_few_directions_add_to_influences_is_taken_off():
    generator = torch.Generator().manual_seed(0)
    images, half, count = 100_000, 32, 512
    common = 3 * torch.randn(images, generator=generator)
    # Each direction has an influence of its own; a half's mean of them is that much smaller.
    own = 20 / math.sqrt(half) * torch.randn(2, images, generator=generator)
    found = LevelDistances(torch.zeros(count), (common + own).double(), torch.zeros(2, images), half)
    expected = 1000 * math.sqrt((3**2 + 20**2 / count) / images)
    assert summarize([found], [16]).average.se_images == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_any_number_of_directions_has_an_error(count):
    a, b = torch.randn(2, 64, 147)
    found = measure_level(a, b, random_directions(147, repeats=1, count=count), patches=8, channels=3)
    estimate = summarize([found], [16]).average
    assert estimate.se_images > 0
    assert math.isnan(estimate.se_directions) is (count == 1)


def test_every_direction_counts_though_influences_come_from_some():
    a, b = torch.randn(2, 64, 147)
    directions = random_directions(147, repeats=2, count=128)
    found = measure_level(a, b, directions, patches=8, channels=3)
    torch.testing.assert_close(found.along, direction_distances(a, b, directions), rtol=1e-6, atol=0)
    assert found.on_a.shape == found.on_b.shape == (2, 8)


@pytest.mark.parametrize(
    ("contrast", "least", "most"),
    [((0.0, 3.0), 0.75, 1.3), ((0.5, 1.5), 1.1, 2.0)],
    ids=["unlike sets: exact", "alike: cautious"],
)
def test_standard_error_is_the_spread_over_fresh_images_and_directions(noise, contrast, least, most):
    values, errors = [], []
    for seed in range(32):  # enough to know a spread to 12 %
        random = np.random.default_rng(seed)
        metric = SlicedWassersteinDistance(patches=16, repeats=1, seed=seed)
        for real, contrasts in ((True, (0.5, 1.5)), (False, contrast)):
            pictures = noise(200, 16, seed=2 * seed + real) - 120.0
            # Images differ in brightness and contrast, as photographs do.
            pictures *= random.uniform(*contrasts, (200, 1, 1, 1))
            metric.update(torch.from_numpy(pictures + random.normal(0, 15, (200, 3, 1, 1))), real)
        found = metric.compute()
        values.append(found["16"].item())
        errors.append(found["16_se"].item())
    assert least < np.mean(errors) / np.std(values, ddof=1) < most
