"""The networks against golden outputs, published sizes, and what they claim about lod."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainer.configuration.config import DiscriminatorConfig, GeneratorConfig
from trainer.configuration.presets import preset
from trainer.networks.layers import downscale2d, upscale2d
from trainer.networks.progressive import Discriminator, Generator, blend

LODS = [0.0, 0.3, 1.0, 2.6]
TINY = {"resolution": 32, "fmap_base": 64, "fmap_max": 16}

# trainer-facts, computed from the layer table: final resolution -> G, D
TOTALS = {
    4: (6_556_163, 6_561_793),
    8: (11_277_318, 11_283_457),
    16: (15_998_473, 16_005_121),
    32: (20_719_628, 20_726_785),
    64: (22_490_383, 22_498_049),
    128: (22_933_394, 22_941_313),
    256: (23_044_309, 23_052_353),
    512: (23_072_120, 23_080_225),
    1024: (23_079_115, 23_087_249),
}


def tiny_generator(**switches):
    return Generator(GeneratorConfig(**TINY, latent_size=16, **switches))


def tiny_discriminator(**switches):
    return Discriminator(DiscriminatorConfig(**TINY, **switches))


def load_golden_parameters(network, golden):
    """Golden names, `8.conv0.w` or `torgb8.b`, to ours."""
    state = {}
    for name, value in golden.items():
        if name.startswith("P."):
            layer, part = name[2:].rsplit(".", 1)
            if layer.startswith(("torgb", "fromrgb")):
                layer = layer.replace("rgb", "rgb.")
            elif layer.startswith("dense") and layer != "dense":
                layer = f"blocks.4.{layer}"
            elif layer != "dense":
                layer = f"blocks.{layer}"
            state[f"{layer}.{'weight' if part == 'w' else 'bias'}"] = value
    network.load_state_dict(state)
    return network


def parameter_count(network):
    return sum(parameter.numel() for parameter in network.parameters())


# Pixels whose four features nearly cancel make pixel norm amplify float32 rounding.
PRECISIONS = [
    pytest.param(torch.float64, {"rtol": 1e-6, "atol": 1e-6}, id="float64"),
    pytest.param(torch.float32, {"rtol": 1e-5, "atol": 5e-5}, id="float32"),
]


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("fused_scale", [False, True])
@pytest.mark.parametrize("lod", LODS)
def test_generator_holds_the_golden_images(golden, lod, fused_scale, dtype, tolerance):
    g = golden("tiny_G", dtype)
    network = load_golden_parameters(tiny_generator(fused_scale=fused_scale).to(dtype), g)
    images = network(g["latents"][:3], lod=lod)
    for _ in range(math.floor(lod)):
        images = upscale2d(images)
    torch.testing.assert_close(images, g[f"out.lod{lod}"], **tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("group", [4, 8, "all"])
@pytest.mark.parametrize("fused_scale", [False, True])
@pytest.mark.parametrize("lod", LODS)
def test_discriminator_holds_the_golden_scores(golden, lod, fused_scale, group, dtype, tolerance):
    g = golden("tiny_D", dtype)
    network = tiny_discriminator(fused_scale=fused_scale, mbstd_group_size=group).to(dtype)
    load_golden_parameters(network, g)
    images = g["images"]
    for _ in range(math.floor(lod)):
        images = downscale2d(images)
    scores, logits = network(images, lod)
    expected = g[f"out.lod{lod}.{'fused' if fused_scale else 'plain'}.group{8 if group == 'all' else group}"]
    torch.testing.assert_close(scores, expected, **tolerance)
    assert logits.shape == (8, 0)


@pytest.mark.parametrize("lod", LODS)
def test_the_fade_of_colours_holds_the_golden_values(shared, lod):
    with np.load(shared / "golden" / "trainer" / "G_fade_rgb.npz") as file:
        level, expected = math.floor(lod), torch.from_numpy(file[f"out_lod{lod}"])
        images, lower = (torch.from_numpy(file[f"rgb_lod{i}"]) for i in (level, level + 1))
    faded = blend(images, upscale2d(lower), lod - level)
    for _ in range(level):
        faded = upscale2d(faded)
    torch.testing.assert_close(faded, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("resolution", TOTALS)
def test_parameter_counts_are_the_published_ones(resolution):
    with torch.device("meta"):
        networks = (
            Generator(GeneratorConfig(resolution=resolution)),
            Discriminator(DiscriminatorConfig(resolution=resolution)),
        )
    assert tuple(map(parameter_count, networks)) == TOTALS[resolution]


@pytest.mark.parametrize(
    ("name", "expected"), [("table1-g", (13_629_810, 13_636_897)), ("cifar10", (1_296_908, 1_298_689))]
)
def test_parameter_counts_of_smaller_presets(name, expected):
    config = preset(name)
    with torch.device("meta"):
        networks = Generator(config.generator), Discriminator(config.discriminator)
    assert tuple(map(parameter_count, networks)) == expected


def test_state_dict_keys_are_the_specified_ones():
    def keys(*layers):
        return {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}

    convs = [f"blocks.{r}.conv{i}" for r in (8, 16, 32) for i in (0, 1)]
    assert set(tiny_generator().state_dict()) == keys(
        "dense", "blocks.4.conv", *convs, *(f"torgb.{r}" for r in (4, 8, 16, 32))
    )
    last = ["blocks.4.conv", "blocks.4.dense0", "blocks.4.dense1"]
    assert set(tiny_discriminator().state_dict()) == keys(
        *last, *convs, *(f"fromrgb.{r}" for r in (4, 8, 16, 32))
    )


@pytest.mark.parametrize(("lod", "touched", "size"), [(3.0, {4}, 4), (2.0, {4, 8}, 8), (1.4, {4, 8, 16}, 16)])
def test_nothing_is_computed_above_the_current_resolution(lod, touched, size):
    G, D = tiny_generator(), tiny_discriminator()
    images = G(torch.randn(4, 16), lod=lod)
    assert images.shape == (4, 3, size, size)
    D(images, lod)[0].sum().backward()
    for network in (G, D):
        levels = {
            int(name.split(".")[1])
            for name, p in network.named_parameters()
            if p.grad is not None and "dense." not in name
        }
        assert levels == touched


@pytest.mark.parametrize("lod", [1.0, 2.0])
def test_a_fade_is_continuous_at_both_ends(golden, lod):
    G = load_golden_parameters(tiny_generator().double(), g := golden("tiny_G"))
    just_above, at, just_below = (G(g["latents"], lod=x) for x in (lod + 1e-9, lod, lod - 1e-9))
    torch.testing.assert_close(just_above, at, rtol=0, atol=1e-7)
    torch.testing.assert_close(just_below, upscale2d(at), rtol=0, atol=1e-7)

    D = load_golden_parameters(tiny_discriminator().double(), g := golden("tiny_D"))
    images = g["images"]
    for _ in range(int(lod) - 1):
        images = downscale2d(images)
    smaller = downscale2d(images)
    just_above, at, just_below = D(smaller, lod + 1e-9), D(smaller, lod), D(images, lod - 1e-9)
    torch.testing.assert_close(just_above[0], at[0], rtol=0, atol=1e-7)
    torch.testing.assert_close(just_below[0], at[0], rtol=0, atol=1e-7)


def test_labels_enter_the_latents_and_come_back_as_logits():
    G, D = tiny_generator(label_size=5), tiny_discriminator(label_size=5)
    latents, labels = torch.randn(4, 16), torch.eye(5)[:4]
    images = G(latents, labels)
    assert not torch.equal(images, G(latents, labels.flip(0)))
    scores, logits = D(images)
    assert (scores.shape, logits.shape) == ((4, 1), (4, 5))


@pytest.mark.parametrize("labels", [None, torch.zeros(4, 3)])
def test_wrong_labels_are_refused(labels):
    with pytest.raises(ValueError, match="the network takes 5"):
        tiny_generator(label_size=5)(torch.randn(4, 16), labels)


@pytest.mark.parametrize("lod", [-0.1, 3.1, math.nan])
def test_a_lod_out_of_range_is_refused(lod):
    with pytest.raises(ValueError, match="must be between 0 and 3"):
        tiny_generator()(torch.randn(1, 16), lod=lod)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match="16x16 pixels, but lod 0 is 32x32"):
        tiny_discriminator()(torch.zeros(4, 3, 16, 16))


def small_networks(name):
    """A row of table 1 with its switches, at 8x8, in float64, with random biases and gains."""
    config = preset(name)
    small = {"resolution": 8, "fmap_base": 32, "fmap_max": 8}
    torch.manual_seed(0)
    G = Generator(dataclasses.replace(config.generator, **small)).double()
    D = Discriminator(dataclasses.replace(config.discriminator, **small)).double()
    for parameter in (*G.parameters(), *D.parameters()):
        if parameter.dim() == 1:
            parameter.data.normal_()
    return G, D


def test_row_a_has_batch_norm_relu_and_tanh_in_the_generator(rng):
    G, _ = small_networks("table1-a")
    P = G.state_dict()
    latents = torch.randn(6, 128, generator=rng, dtype=torch.float64)

    def norm_relu(x, name):
        return F.batch_norm(x, None, None, P[f"{name}.weight"], P[f"{name}.bias"], True, eps=1e-4).relu()

    x = norm_relu((latents @ P["dense.weight"].T).reshape(6, 8, 4, 4), "norm")
    x = norm_relu(F.conv2d(x, P["blocks.4.conv.weight"], padding=1), "blocks.4.norm")
    x = upscale2d(x)
    for i in (0, 1):
        x = norm_relu(F.conv2d(x, P[f"blocks.8.conv{i}.weight"], padding=1), f"blocks.8.norm{i}")
    expected = torch.tanh(F.conv2d(x, P["torgb.8.weight"], P["torgb.8.bias"]))
    torch.testing.assert_close(G(latents), expected)


def test_row_a_has_layer_norm_in_the_discriminator(rng):
    _, D = small_networks("table1-a")
    P = D.state_dict()
    images = torch.randn(6, 3, 8, 8, generator=rng, dtype=torch.float64)

    def norm_lrelu(x, name):
        x = F.layer_norm(x, x.shape[1:], eps=1e-4) * P[f"{name}.weight"] + P[f"{name}.bias"][:, None, None]
        return F.leaky_relu(x, 0.2)

    x = F.leaky_relu(F.conv2d(images, P["fromrgb.8.weight"], P["fromrgb.8.bias"]), 0.2)
    for i in (0, 1):
        x = norm_lrelu(F.conv2d(x, P[f"blocks.8.conv{i}.weight"], padding=1), f"blocks.8.norm{i}")
    x = norm_lrelu(F.conv2d(downscale2d(x), P["blocks.4.conv.weight"], padding=1), "blocks.4.norm")
    x = norm_lrelu(F.conv2d(x, P["blocks.4.dense0.weight"].reshape(8, 8, 4, 4)), "blocks.4.norm_dense0")
    expected = x.flatten(1) @ P["blocks.4.dense1.weight"].T + P["blocks.4.dense1.bias"]
    torch.testing.assert_close(D(images)[0], expected)


def test_row_e_star_appends_minibatch_discrimination_before_the_last_layer(rng):
    _, D = small_networks("table1-e-star")
    images = torch.randn(6, 3, 8, 8, generator=rng, dtype=torch.float64)
    D.initialize_from_reals(images, 0.0)
    last = D.blocks["4"]
    features = last.dense_features(D.features(images, 8, 0.0))  # [6, 8]
    theta = last.mbdisc.theta / last.mbdisc.theta.norm(dim=0) * last.mbdisc.log_scale.exp()
    projected = torch.einsum("nf,fkd->nkd", features, theta)
    distances = (projected[:, None] - projected[None]).abs().sum(dim=-1)
    closeness = torch.exp(-distances).sum(dim=1) - 1.0 + last.mbdisc.bias  # 1: to itself
    expected = last.dense1(torch.cat([features, closeness], dim=1))
    torch.testing.assert_close(D(images)[0], expected)


@pytest.mark.parametrize(
    ("name", "wscale", "pixelnorm", "leaky", "mbstd"),
    [
        ("table1-c", False, False, False, False),
        ("table1-d", False, False, True, False),
        ("table1-e", False, False, True, True),
        ("table1-f", True, False, True, True),
        ("table1-g", True, True, True, True),
    ],
)
def test_each_row_of_table_1_switches_what_it_names(name, wscale, pixelnorm, leaky, mbstd):
    G, D = small_networks(name)
    assert (G.blocks["8"].conv0.scale != 1.0) == (D.blocks["8"].conv0.scale != 1.0) == wscale
    assert D.blocks["4"].conv.weight.shape[1] == 8 + mbstd
    features = G.first_features(torch.randn(8, G.config.latent_size).double(), None)
    mean_square = features.square().mean(dim=1)
    assert torch.allclose(mean_square, torch.ones_like(mean_square)) == pixelnorm
    assert (features.min() < 0).item() == leaky


def test_multiplicative_noise_enters_every_convolution_but_the_first(rng):
    _, D = small_networks("table1-e")
    seen = []

    def noise(x, start):
        seen.append((start, *x.shape[1:]))
        return x

    D.scores(torch.randn(4, 3, 8, 8, generator=rng, dtype=torch.float64), 8, 0.0, noise)
    # Each layer has columns of its own, those of the lowest resolution first.
    assert seen == [(17, 8, 8, 8), (25, 8, 8, 8), (0, 9, 4, 4), (9, 8, 4, 4)]
    assert D.noise_maps(8) == 33


def test_multiplicative_noise_comes_from_the_given_source(rng):
    D, images = tiny_discriminator(), torch.randn(4, 3, 32, 32, generator=rng)

    def scores(seed):
        return D(images, gdrop_strength=0.1, gdrop_rng=torch.Generator().manual_seed(seed))[0]

    assert torch.equal(scores(1), scores(1))
    assert not torch.equal(scores(1), scores(2))
