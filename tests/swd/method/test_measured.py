import math

import pytest
import torch

from swd.method.measured import Measured, Sample, average, corrected, from_distances, own_share


def sample(population, count, clusters=None, members=None, paired=False):
    members = torch.arange(count) if members is None else torch.tensor(members)
    clusters = torch.arange(count) if clusters is None else torch.tensor(clusters)
    return Sample(population, members, clusters, paired)


def figure(along, on_a, on_b, a=None, b=None):
    """Measured along all directions, influences of both halves alike."""
    along, on_a, on_b = (torch.tensor(values, dtype=torch.float64) for values in (along, on_a, on_b))
    samples = [a or sample("a", len(on_a)), b or sample("b", len(on_b))]
    return from_distances(along, len(along), [on_a.repeat(2, 1), on_b.repeat(2, 1)], samples, half=len(along))


@pytest.fixture
def levels():
    return [
        figure([0.010, 0.014], [0.4, -0.4, 0.2, -0.2], [0.6, -0.6]),
        figure([0.030, 0.034], [0.2, -0.2, 0.0, 0.0], [0.0, 0.0]),
    ]


def test_values_are_means_over_directions_times_1000(levels):
    assert [level.estimate.value for level in levels] == pytest.approx([12, 32])
    assert average(levels).estimate.value == pytest.approx(22)


def test_error_of_directions_is_their_spread_over_the_root_of_their_number(levels):
    # The standard deviation of 10 and 14 is 4 / sqrt(2), and there are 2.
    assert levels[0].estimate.se_directions == pytest.approx(2)


def test_error_of_the_average_counts_that_levels_share_directions(levels):
    # Independent levels would give sqrt(2^2 + 2^2) / 2.
    assert average(levels).estimate.se_directions == pytest.approx(2)


def test_error_of_images_adds_the_variances_of_both_sets(levels):
    # Of four images the variance of Student's t with 3 degrees of freedom: 3 times that of a normal.
    variance_a = 3 * (2 * 0.4**2 + 2 * 0.2**2) / 3
    variance_b = 2 * 0.6**2
    assert levels[0].estimate.se_images == pytest.approx(1000 * math.sqrt(variance_a / 4 + variance_b / 2))


def test_the_same_images_on_both_sides_count_once():
    both = sample("reals", 2)
    assert figure([0.01, 0.01], [0.4, -0.4], [-0.4, 0.4], both, both).estimate.se_images == 0
    # Of other images each side's variance is 2 * 0.4^2 for one image, and it has two.
    apart = figure([0.01, 0.01], [0.4, -0.4], [-0.4, 0.4]).estimate.se_images
    assert apart == pytest.approx(1000 * math.sqrt(2 * 2 * 0.4**2 / 2))


def test_one_image_has_no_error():
    estimate = figure([0.01, 0.02], [0.0], [0.0]).estimate
    assert estimate.se_images is None
    assert estimate.se is None


def test_errors_add_in_squares(levels):
    estimate = average(levels).estimate
    assert estimate.se == pytest.approx(math.hypot(estimate.se_directions, estimate.se_images))


def test_what_few_directions_add_to_influences_is_taken_off():
    generator = torch.Generator().manual_seed(0)
    images, half, count = 100_000, 32, 512
    common = 3 * torch.randn(images, generator=generator)
    # Each direction has an influence of its own; a half's mean of them is that much smaller.
    own = 20 / math.sqrt(half) * torch.randn(2, images, generator=generator)
    sides = [(common + own).double(), torch.zeros(2, images, dtype=torch.float64)]
    samples = [sample("a", images), sample("b", images)]
    found = from_distances(torch.zeros(count, dtype=torch.float64), count, sides, samples, half)
    expected = 1000 * math.sqrt((3**2 + 20**2 / count) / images)
    assert found.estimate.se_images == pytest.approx(expected, rel=0.02)


def test_copies_are_one_draw():
    few = figure([0.01, 0.01], [0.3, -0.1, -0.2], [0.0, 0.0])
    copies = [0, 1, 2] * 4
    many = figure([0.01, 0.01], [0.3, -0.1, -0.2] * 4, [0.0, 0.0], a=sample("a", 12, clusters=copies))
    assert many.estimate.se_images == pytest.approx(few.estimate.se_images)
    apart = figure([0.01, 0.01], [0.3, -0.1, -0.2] * 4, [0.0, 0.0])
    assert apart.estimate.se_images < 0.6 * few.estimate.se_images


def test_what_two_figures_share_cancels_in_their_difference():
    first = figure([0.01, 0.03], [0.4, -0.4], [0.1, -0.1], b=sample("b", 2))
    second = figure([0.02, 0.04], [0.4, -0.4], [0.3, -0.3], b=sample("c", 2))
    difference = (second - first).estimate
    assert difference.value == pytest.approx(10)
    assert difference.se_directions == pytest.approx(0)
    # The reals' influences are equal; those of b and c are of different images.
    assert difference.se_images == pytest.approx(1000 * math.sqrt((2 * 0.1**2 + 2 * 0.3**2) / 2))
    paired = figure([0.02, 0.04], [0.4, -0.4], [0.3, -0.3], b=sample("b", 2)) - first
    assert paired.estimate.se_images == pytest.approx(1000 * math.sqrt(2 * 0.2**2 / 2))


def paired(clusters, on_b):
    """A figure of a set that is paired with others."""
    return figure([0.01, 0.01], [0.0, 0.0], on_b, b=sample("fakes", len(on_b), clusters, paired=True))


def test_pairs_count_once_where_both_sets_have_copies():
    copies = [0, 1, 2] * 4
    first, second = ([value * step for value in (0.3, -0.1, -0.2)] for step in (1, 2))
    few = paired(None, second) - paired(None, first)
    many = paired(copies, second * 4) - paired([2, 1, 0] * 4, first * 4)
    assert many.estimate.se_images == pytest.approx(few.estimate.se_images)
    # The copies of one set alone come from other draws than each other.
    one = paired(copies, second * 4) - paired(None, first * 4)
    neither = paired(None, second * 4) - paired(None, first * 4)
    assert one.estimate.se_images < 0.9 * few.estimate.se_images
    assert neither.estimate.se_images < one.estimate.se_images


def test_pairs_leave_the_error_of_each_figure():
    copies, on_b = [0, 1, 2] * 4, [0.3, -0.1, -0.2] * 4
    alone = figure([0.01, 0.01], [0.0, 0.0], on_b, b=sample("fakes", 12, copies))
    assert paired(copies, on_b).estimate == alone.estimate


def test_members_of_a_population_are_matched_by_their_places():
    whole = figure([0.01, 0.01], [0.1, 0.2, -0.3], [0.0, 0.0], a=sample("a", 3))
    part = figure([0.01, 0.01], [0.5, -0.5], [0.0, 0.0], a=sample("a", 3, members=[2, 0]))
    root = math.sqrt(3)
    together = (whole + part).images["a"][0]
    assert together.tolist() == pytest.approx(
        [0.1 / 3 * root - 0.25 * math.sqrt(2), 0.2 / 3 * root, -0.1 * root + 0.25 * math.sqrt(2)]
    )


def test_corrected_is_the_root_of_the_difference_of_squares():
    distance, own = (
        Measured(value, torch.tensor([error, 0.0]).double(), {})
        for value, error in ((0.05, 0.002), (0.06, 0.001))
    )
    found = corrected(distance, [(0.25, own)])
    assert found.value == pytest.approx(math.sqrt(0.05**2 - 0.06**2 / 4))
    # d sqrt(v^2 - w d^2) = (v dv - w d dd) / sqrt(...)
    assert found.directions[0] == pytest.approx((0.05 * 0.002 - 0.25 * 0.06 * 0.001) / found.value)


def test_a_distance_that_its_samples_explain_is_0_with_an_upper_bound():
    distance = Measured(0.02, torch.tensor([0.002]).double(), {"a": torch.zeros(3, 2)})
    found = corrected(distance, [(1.0, Measured(0.03, torch.zeros(1).double(), {}))]).estimate
    assert found.value == 0
    # The square's standard error is 2 v dv; twice that, and the root.
    assert found.upper_bound == pytest.approx(1000 * math.sqrt(2 * 2 * 0.02 * 0.002))
    assert corrected(distance, []).estimate.upper_bound is None


@pytest.mark.parametrize(
    ("size", "first", "second", "share"), [(100, 50, 50, 0.25), (5, 3, 2, 0.24), (50, 50, 50, 0.5)]
)
def test_share_of_the_halves_is_that_of_the_reciprocal_sizes(size, first, second, share):
    assert own_share(size, first, second) == pytest.approx(share)
