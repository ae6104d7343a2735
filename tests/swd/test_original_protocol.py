"""The published protocol as a whole, against the spread of the original's own results over seeds."""

import numpy as np
import pytest
import torch

from swd.method.descriptors import describe, normalize_descriptors
from swd.method.randomness import FAKES, REALS, random_directions
from swd.method.wasserstein import direction_distances

SEEDS = 4


def figures(a, b, seed, set_ids, draws):
    """Distances x 1000 of each level and their mean, with 128 patches and 4 x 128 directions."""
    directions = random_directions(147, seed=seed)
    levels = [
        describe(images, torch.arange(len(images)), seed=seed, set_id=set_id, draws=(draw,))[0]
        for images, set_id, draw in zip((a, b), set_ids, draws, strict=True)
    ]
    normalized = [[normalize_descriptors(level) for level in side] for side in levels]
    values = [
        1000 * float(direction_distances(x, y, directions).mean()) for x, y in zip(*normalized, strict=True)
    ]
    return [*values, np.mean(values)]


@pytest.mark.parametrize(
    ("pair", "name"), [("ab", "mc"), ("aa", "mc_baseline")], ids=["fakes", "reals with fresh patches"]
)
def test_figures_lie_within_the_spread_of_the_originals(golden, pair, name):
    data = golden("swd_default_64")
    a, b = (torch.from_numpy(data[f"images_{key}"]) for key in pair)
    set_ids, draws = ((REALS, FAKES), (0, 0)) if pair == "ab" else ((REALS, REALS), (0, 1))
    found = np.mean([figures(a, b, seed, set_ids, draws) for seed in range(SEEDS)], axis=0)
    # Errors of two means: ours over few seeds, the original's over 20.
    tolerance = 4 * data[f"{name}_std"] * (SEEDS**-0.5 + 20**-0.5)
    assert (np.abs(found - data[f"{name}_mean"]) < tolerance).all()
