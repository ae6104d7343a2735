"""Frozen batch statistics."""

import dataclasses

import torch

from trainer.configuration.presets import preset
from trainer.networks.batchnorm import freeze_batch_statistics
from trainer.networks.progressive import Generator


def small_generator(name):
    torch.manual_seed(0)
    return Generator(dataclasses.replace(preset(name).generator, resolution=16, fmap_base=64, fmap_max=16))


def minibatches(rng, count=16, size=64):
    return [(torch.randn(size, 128, generator=rng), None) for _ in range(count)]


def test_frozen_statistics_make_an_image_independent_of_its_company(rng):
    G = small_generator("table1-a")
    latents = torch.randn(8, 128, generator=rng)
    freeze_batch_statistics(G, minibatches(rng), 0.0)
    with torch.no_grad():
        together = G(latents)
        alone = torch.cat([G(latents[i : i + 1]) for i in range(8)])
    torch.testing.assert_close(together, alone)


def test_frozen_statistics_are_those_of_the_latents_and_not_of_training(rng):
    G = small_generator("table1-a")
    G(100.0 * torch.randn(8, 128, generator=rng))  # would spoil a running average
    given = minibatches(rng)
    freeze_batch_statistics(G, given, 0.0)
    latents = torch.cat([part for part, _ in given])
    with torch.no_grad():
        features = G.dense(latents).reshape(len(latents), -1, 4, 4)
    mean, variance = features.mean(dim=(0, 2, 3)), features.var(dim=(0, 2, 3))
    torch.testing.assert_close(G.norm.running_mean, mean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(G.norm.running_var, variance, rtol=0.02, atol=0)  # averages of 64 images
    assert not G.training
    assert G.norm.momentum == 0.1


def test_other_generators_are_only_set_to_eval():
    G = small_generator("table1-g").train()
    before = {name: value.clone() for name, value in G.state_dict().items()}
    freeze_batch_statistics(G, iter([]), 0.0)
    assert not G.training
    assert all(torch.equal(before[name], value) for name, value in G.state_dict().items())
