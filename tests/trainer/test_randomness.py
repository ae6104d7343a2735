"""Keyed numbers depend on their keys alone and are distributed as they should be."""

import numpy as np
import pytest

from trainer.randomness import (
    Stream,
    keyed_bits,
    keyed_choice,
    keyed_normal,
    keyed_permutation,
    keyed_uniform,
)


def test_a_row_does_not_depend_on_the_rows_drawn_with_it():
    whole = keyed_normal(3, Stream.D_LATENTS, np.arange(100), 17)
    parts = [keyed_normal(3, Stream.D_LATENTS, np.array([i]), 17)[0] for i in (0, 41, 99)]
    np.testing.assert_array_equal(whole[[0, 41, 99]], parts)


@pytest.mark.parametrize("other", [(4, Stream.D_LATENTS), (3, Stream.G_LATENTS)])
def test_seeds_and_streams_are_unrelated(other):
    first = keyed_normal(3, Stream.D_LATENTS, np.arange(1000), 8).ravel()
    second = keyed_normal(*other, np.arange(1000), 8).ravel()
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.04  # 3.5 sigma of 8000 pairs


def test_normal_numbers_have_the_moments_of_a_normal_distribution():
    x = keyed_normal(0, Stream.G_LATENTS, np.arange(2000), 101).astype(np.float64)
    count = x.size
    assert abs(x.mean()) < 4 / count**0.5
    assert abs(x.var() - 1) < 4 * (2 / count) ** 0.5
    assert abs((x**4).mean() - 3) < 4 * (96 / count) ** 0.5
    columns = np.corrcoef(x.T) - np.eye(101)
    assert np.abs(columns).max() < 5 / 2000**0.5


def test_uniform_numbers_fill_the_open_unit_interval():
    x = keyed_uniform(1, Stream.MIX_FACTORS, np.arange(100_000))[:, 0]
    assert 0 < x.min() < 1e-4
    assert 1 - 1e-4 < x.max() < 1
    counts = np.histogram(x, bins=20, range=(0, 1))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8  # chi square, 19 degrees of freedom, p = 0.001


def test_choices_cover_all_items():
    assert set(keyed_choice(0, Stream.G_LABELS, np.arange(1000), 7).tolist()) == set(range(7))


def test_permutations_hold_every_item_once_and_change_with_the_epoch():
    first, second = (keyed_permutation(5, Stream.DATA_ORDER, epoch, 1000) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(1000))
    assert (first == second).mean() < 0.01


def test_every_bit_of_large_seeds_and_indices_counts():
    drawn = [
        int(keyed_bits(seed, Stream.DATA_ORDER, np.array([index]))[0, 0])
        for seed in (1, 2**63 + 1)
        for index in (0, 2**40)
    ]
    assert len(set(drawn)) == 4
