import math

import numpy as np
import pytest
import torch
from scipy import stats

from swd.method.randomness import (
    FAKES,
    REALS,
    image_order,
    image_pairs,
    patch_centers,
    random_directions,
)


def splitmix_reference(*key):
    """The hash in Python's unbounded integers."""
    state = 0
    for word in key:
        state = ((state ^ word) + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state


def test_centers_are_the_documented_function_of_the_key():
    # A change of these numbers would change every published figure.
    indices, sizes = torch.tensor([0, 12345]), [(256, 192), (128, 96), (64, 48)]
    levels = patch_centers(indices, sizes, patches=3, seed=7, set_id=FAKES, draw=1)
    for level, (centers, (height, width)) in enumerate(zip(levels, sizes, strict=True)):
        for index, image in zip((0, 12345), centers.tolist(), strict=True):
            for patch, center in enumerate(image):
                bits = splitmix_reference(0, 7, 1, 1, index, level, patch)
                y, x = (bits >> 32) * (height - 6) // 2**32 + 3, bits % 2**32 * (width - 6) // 2**32 + 3
                assert center == [y, x]
    assert levels[2][0].tolist() == [[23, 10], [54, 15], [26, 38]]


def test_centers_do_not_depend_on_batch_or_order():
    indices = torch.randperm(50)
    together, alone = (patch_centers(some, [(64, 64), (32, 32)]) for some in (indices, indices[7:9]))
    assert all(torch.equal(many[7:9], few) for many, few in zip(together, alone, strict=True))


def test_fewer_patches_are_the_first_of_more():
    few, many = (patch_centers(torch.arange(4), [(64, 64)], patches=count)[0] for count in (8, 128))
    assert torch.equal(few, many[:, :8])


@pytest.mark.parametrize("change", [{"seed": 1}, {"set_id": FAKES}, {"draw": 1}])
def test_every_part_of_the_key_counts(change):
    key = {"seed": 0, "set_id": REALS, "draw": 0}
    base, other_level = patch_centers(torch.arange(100), [(64, 64), (64, 64)], **key)
    (other,) = patch_centers(torch.arange(100), [(64, 64)], **(key | change))
    # Independent uniform positions agree once in 58 x 58 times.
    for centers in (other, other_level):
        assert (base == centers).all(-1).float().mean() < 0.01


def test_centers_are_uniform_over_where_a_patch_fits():
    (centers,) = patch_centers(torch.arange(2000), [(16, 20)])
    y, x = centers.reshape(-1, 2).T.numpy()
    assert (y.min(), y.max(), x.min(), x.max()) == (3, 12, 3, 16)
    counts = np.histogram2d(y, x, bins=(np.arange(3, 14) - 0.5, np.arange(3, 18) - 0.5))[0]
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_directions_are_fixed_unit_vectors_of_a_uniform_distribution():
    directions = random_directions(147)
    assert directions.shape == (147, 512)
    assert directions.dtype == torch.float32
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(512))
    # A coordinate of a uniform direction, times sqrt(147), is close to a normal deviate.
    assert stats.kstest(directions.flatten().numpy() * math.sqrt(147), "norm").pvalue > 1e-3
    assert torch.equal(random_directions(147, repeats=1), directions[:, :128])
    assert not torch.equal(random_directions(147, seed=1), directions)


def test_image_order_is_a_permutation_of_its_own_for_each_set():
    orders = [image_order(1000, set_id=set_id) for set_id in (REALS, FAKES)]
    for order in orders:
        assert order.sort().values.tolist() == list(range(1000))
    assert not torch.equal(*orders)


def test_pairs_are_of_different_images_and_evenly_spread():
    pairs = image_pairs(40, 700)
    assert pairs.shape == (700, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert stats.chisquare(np.bincount(pairs.flatten().numpy())).pvalue > 1e-3


def test_few_images_give_every_pair_once():
    assert image_pairs(4, 10).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]


@pytest.mark.gpu
def test_cuda_draws_the_same_patches():
    indices = torch.arange(100)
    sizes = [(128, 128), (64, 64)]
    for there, here in zip(patch_centers(indices.cuda(), sizes), patch_centers(indices, sizes), strict=True):
        assert torch.equal(there.cpu(), here)
