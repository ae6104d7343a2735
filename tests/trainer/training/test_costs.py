"""Costs counted without computing are those of the step that is computed."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainer.configuration.config import (
    DiscriminatorConfig,
    GeneratorConfig,
    ScheduleConfig,
    TrainConfig,
    TrainingConfig,
)
from trainer.networks.progressive import Generator
from trainer.training.costs import CostCounter, StepCost, step_costs
from trainer.training.memory import CPU_OVERHEAD, free_memory_bytes, moments_bytes, on_cpu


def config(resolution: int) -> TrainingConfig:
    return TrainingConfig(
        generator=GeneratorConfig(resolution=resolution),
        discriminator=DiscriminatorConfig(resolution=resolution),
        schedule=ScheduleConfig(resolution=resolution, initial_resolution=resolution),
        train=TrainConfig(total_kimg=1),
    )


def test_the_arithmetic_of_a_step_is_that_of_the_layer_table():
    # 6.385 GMAC forward per network at 32x32. A D step runs G once, and D forward and backward on reals and
    # fakes (3 x each), and on mixed images forward, backward and twice backward again (about 6 x); a G step
    # runs G (3 x) and D forward and to its input (2 x).
    forward = 2 * 6.385e9
    expected = forward * (1 + 3 + 3 + 6 + 3 + 2)
    assert step_costs(config(32))[32].flops == pytest.approx(expected, rel=0.1)


def test_memory_grows_with_the_resolution_at_least_as_the_largest_features():
    costs = {r: step_costs(config(r))[r].bytes_per_image for r in (128, 256)}
    features = {
        r: 4 * 128 * 128 * 128 for r in costs
    }  # float32 of one layer: 128 maps of 128 px, 64 of 256 px
    features[256] *= 2
    assert all(costs[r] > 10 * features[r] for r in costs)
    assert 1.5 < costs[256] / costs[128] < 2.5


def test_the_gradients_of_the_weights_are_there_once_however_many_images():
    cost = step_costs(config(32))[32]
    weights = 4 * (20_719_628 + 20_726_785)  # float32
    # Gradients of both networks, and the scaled weights of D and their gradients in the penalty.
    assert weights < cost.fixed_bytes < 3 * weights
    assert cost.bytes_of(10) == cost.fixed_bytes + 10 * cost.bytes_per_image
    assert cost.images_in(cost.bytes_of(10)) == 10
    assert StepCost(100, 10, 1).images_in(50) == 0


def test_on_a_cpu_the_untouched_moments_and_the_convolutions_own_copies_count_too():
    weights = 4 * (20_719_628 + 20_726_785)  # float32
    cost = step_costs(config(32))[32]
    larger = on_cpu(cost, moments_bytes(config(32)))
    assert moments_bytes(config(32)) == weights
    assert larger.fixed_bytes == weights + round(CPU_OVERHEAD * cost.fixed_bytes)
    assert larger.bytes_of(8) > weights + 1.4 * cost.bytes_of(8)
    assert larger.flops == cost.flops


def test_nothing_is_counted_twice_and_what_is_freed_is_taken_off():
    with CostCounter() as counter:
        a = torch.zeros(1000)
        b = a.view(10, 100)
        c = a + 1
        del a, b, c
        torch.zeros(500)
    assert counter.peak == 8000
    assert counter.live <= 2000


def test_flops_agree_with_pytorchs_own_counter():
    network = Generator(GeneratorConfig(resolution=8, fmap_max=16))
    latents = torch.zeros(2, 512)
    with FlopCounterMode(display=False) as reference:
        network(latents).sum().backward()
    with CostCounter() as counter:
        network(latents).sum().backward()
    assert counter.flops == reference.get_total_flops()


def test_some_memory_is_free():
    assert free_memory_bytes(torch.device("cpu")) > 1 << 20
