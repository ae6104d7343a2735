import math

import numpy as np
import pytest
import torch

from celebahq.processes import World
from swd import SlicedWassersteinDistance
from swd.method.measured import Sample
from swd.method.protocol import Protocol
from swd.method.randomness import random_directions
from swd.method.wasserstein import direction_distances
from swd.pipeline.distance import Set, measure_level

PROTOCOL = Protocol(8, 16, patches=8)


def as_set(rows, population):
    images = torch.arange(len(rows) // PROTOCOL.patches)
    return Set(rows, Sample(population, images, images))


def measure(directions, own=False):
    generator = torch.Generator().manual_seed(0)
    sets = [as_set(torch.randn(64, 147, generator=generator), population) for population in "abcd"]
    return sets, measure_level(sets, [(0, 1)], [(2, 3)] if own else [], directions, PROTOCOL, World())


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_any_number_of_directions_has_an_error(count):
    estimate = measure(random_directions(147, repeats=1, count=count))[1][0].estimate
    assert estimate.se_images > 0
    assert math.isnan(estimate.se_directions) is (count == 1)


@pytest.mark.parametrize("count", [100, 256])
def test_every_direction_counts_though_influences_come_from_some(count):
    directions = random_directions(147, repeats=1, count=count)
    sets, (pair, halves) = measure(directions, own=True)
    along = direction_distances(sets[0].rows, sets[1].rows, directions)
    assert pair.value == pytest.approx(float(along.mean()), rel=1e-6)
    expected = float(along.std()) / math.sqrt(count)
    assert pair.estimate.se_directions == pytest.approx(1000 * expected, rel=1e-5)
    # What a sample alone amounts to is taken from 128 directions.
    some = direction_distances(sets[2].rows, sets[3].rows, directions[:, :128])
    assert halves.value == pytest.approx(float(some.mean()), rel=1e-6)


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
