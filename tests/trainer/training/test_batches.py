"""A divided minibatch keeps its groups, or is refused in words."""

import dataclasses

import numpy as np
import pytest

from celebahq.errors import ToolError
from trainer.configuration.config import (
    DiscriminatorConfig,
    GeneratorConfig,
    ScheduleConfig,
    TrainConfig,
    TrainingConfig,
)
from trainer.training.batches import choose_chunks, chunk_rows, possible_chunks
from trainer.training.costs import StepCost


def config(minibatch: int = 16, **discriminator: object) -> TrainingConfig:
    return TrainingConfig(
        generator=GeneratorConfig(resolution=16),
        discriminator=DiscriminatorConfig(resolution=16, **discriminator),  # type: ignore[arg-type]
        schedule=ScheduleConfig(resolution=16, minibatch=minibatch),
        train=TrainConfig(total_kimg=12000),
    )


def groups(rows: np.ndarray, group: int) -> set[frozenset[int]]:
    """The sets of rows that D's minibatch statistic puts together: subset n mod (N / G)."""
    remainder = np.arange(len(rows)) % (len(rows) // group)
    return {frozenset(rows[remainder == s].tolist()) for s in np.unique(remainder)}


@pytest.mark.parametrize(("minibatch", "chunk"), [(16, 4), (16, 8), (64, 16), (24, 12), (8, 8)])
def test_chunks_hold_the_groups_of_the_whole_minibatch(minibatch, chunk):
    chunks = chunk_rows(minibatch, chunk, group=4)
    assert sorted(np.concatenate(chunks).tolist()) == list(range(minibatch))
    divided = set().union(*(groups(rows, 4) for rows in chunks))
    assert divided == groups(np.arange(minibatch), 4)


def test_an_undivided_minibatch_keeps_its_order():
    assert chunk_rows(16, 16, group=4)[0].tolist() == list(range(16))


@pytest.mark.parametrize(
    ("discriminator", "world_size", "expected"),
    [({}, 1, [4, 8, 16]), ({}, 2, [4, 8]), ({"mbstd_group_size": 0}, 2, [1, 2, 4, 8])],
)
def test_possible_chunks(discriminator, world_size, expected):
    assert possible_chunks(config(**discriminator), 16, world_size) == expected


def test_the_largest_chunk_that_fits_is_chosen():
    costs = {4: StepCost(100, 100, 1), 8: StepCost(100, 200, 1), 16: StepCost(100, 300, 1)}
    chunks = choose_chunks(config(), 1, costs=costs, free_bytes=1700)
    assert chunks == {4: 16, 8: 8, 16: 4}


def test_what_does_not_fit_is_refused_with_the_memory_it_would_need():
    costs = {4: StepCost(0, 10**9, 1), 8: StepCost(0, 10**9, 1), 16: StepCost(0, 2 * 10**9, 1)}
    with pytest.raises(ToolError, match=r"needs at least 16 images, about 32\.0 GB \(a layer looks at"):
        choose_chunks(config(mbstd_group_size="all"), 1, costs=costs, free_bytes=20 * 10**9)


def test_a_whole_minibatch_layer_refuses_several_processes():
    with pytest.raises(ToolError, match="16: cannot be shared by 2 processes"):
        possible_chunks(config(mbstd_group_size="all"), 16, 2)


def test_the_users_chunk_is_a_limit():
    assert choose_chunks(config(), 1, minibatch_gpu=9) == {4: 8, 8: 8, 16: 8}
    with pytest.raises(ToolError, match="needs at least 4 images; --minibatch-gpu 2 allows 2"):
        choose_chunks(config(), 1, minibatch_gpu=2)


def test_only_resolutions_that_the_run_reaches_count():
    short = dataclasses.replace(config(), train=TrainConfig(total_kimg=10))
    assert choose_chunks(short, 1, minibatch_gpu=16) == {4: 16}
