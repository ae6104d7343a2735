import math

import pytest
import torch

from swd.distance import summarize
from swd.influence import Influence


def influence(along, on_a, on_b):
    return Influence(*(torch.tensor(values, dtype=torch.float64) for values in (along, on_a, on_b)))


@pytest.fixture
def levels():
    return [
        influence([0.010, 0.014], [0.4, -0.4, 0.2, -0.2], [0.6, -0.6]),
        influence([0.030, 0.034], [0.2, -0.2, 0.0, 0.0], [0.0, 0.0]),
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
    # Influences are sums over 2 directions.
    variance_a = (2 * 0.2**2 + 2 * 0.1**2) / 3
    variance_b = 2 * 0.3**2
    expected = 1000 * math.sqrt(variance_a / 4 + variance_b / 2)
    assert summarize(levels, [32, 16]).levels[32].se_images == pytest.approx(expected)


def test_the_same_images_on_both_sides_count_once():
    level = influence([0.01, 0.01], [0.4, -0.4], [-0.4, 0.4])
    assert summarize([level], [16], same_images=True).levels[16].se_images == 0
    assert summarize([level], [16]).levels[16].se_images > 0


def test_one_image_has_no_error():
    distance = summarize([influence([0.01, 0.02], [0.0], [0.0])], [16])
    assert distance.average.se_images is None
    assert distance.average.se is None


def test_errors_add_in_squares(levels):
    estimate = summarize(levels, [32, 16]).average
    assert estimate.se == pytest.approx(math.hypot(estimate.se_directions, estimate.se_images))
