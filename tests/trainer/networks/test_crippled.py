"""The weak pair of networks against its layer list written out."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from trainer.configuration.presets import preset
from trainer.networks.crippled import CrippledDiscriminator, CrippledGenerator
from trainer.networks.layers import downscale2d, pixel_norm, upscale2d


def networks(name):
    config = preset(name)
    torch.manual_seed(0)
    pair = CrippledGenerator(config.generator).double(), CrippledDiscriminator(config.discriminator).double()
    for network in pair:
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.data.normal_()
    return pair


def norm_lrelu(x, P, name, slope):
    x = F.batch_norm(x, None, None, P[f"{name}.weight"], P[f"{name}.bias"], True, eps=1e-4)
    return F.leaky_relu(x, slope)


def test_generator_is_one_convolution_per_resolution(rng):
    G, _ = networks("mnist-rgb-1k")
    P = G.state_dict()
    latents = torch.randn(6, 64, generator=rng, dtype=torch.float64)
    x = norm_lrelu((pixel_norm(latents) @ P["dense.weight"].T).reshape(6, 64, 4, 4), P, "norm", 0.3)
    for resolution, width in ((8, 32), (16, 16), (32, 8)):
        x = F.conv2d(upscale2d(x), P[f"blocks.{resolution}.conv.weight"], padding=1)
        x = norm_lrelu(x, P, f"blocks.{resolution}.norm", 0.3)
        assert x.shape[1] == width
    expected = torch.tanh(F.conv2d(x, P["torgb.32.weight"], P["torgb.32.bias"], padding=1))
    torch.testing.assert_close(G(latents), expected)


@pytest.mark.parametrize(("name", "widths"), [("mnist-rgb-1k", (2, 4, 8)), ("mnist-rgb-1k+k2", (4, 8, 16))])
def test_discriminator_is_three_convolutions_and_a_dense_layer(rng, name, widths):
    _, D = networks(name)
    P = D.state_dict()
    images = torch.randn(6, 3, 32, 32, generator=rng, dtype=torch.float64)
    x = images
    for resolution, width in zip((32, 16, 8), widths, strict=True):
        x = F.conv2d(x, P[f"blocks.{resolution}.conv.weight"], padding=1)
        x = downscale2d(norm_lrelu(x, P, f"blocks.{resolution}.norm", 0.2))
        assert x.shape[1] == width
    expected = x.flatten(1) @ P["blocks.4.dense.weight"].T + P["blocks.4.dense.bias"]
    torch.testing.assert_close(D(images)[0], expected)


def test_smaller_images_enter_the_discriminator_behind_a_convolution_that_keeps_its_place(rng):
    _, D = networks("mnist-rgb-1k+progression")
    P = D.state_dict()
    images = torch.randn(6, 3, 16, 16, generator=rng, dtype=torch.float64)

    def from_rgb(images, resolution):
        name = f"fromrgb.{resolution}"
        return F.leaky_relu(F.conv2d(images, P[f"{name}.weight"], P[f"{name}.bias"]), 0.2)

    def convolve(x, resolution):
        x = F.conv2d(x, P[f"blocks.{resolution}.conv.weight"], padding=1)
        return downscale2d(norm_lrelu(x, P, f"blocks.{resolution}.norm", 0.2))

    x = convolve(from_rgb(images, 16), 16)
    x = 0.7 * x + 0.3 * from_rgb(downscale2d(images), 8)  # lod 1.3: 16x16 has weight 0.7
    expected = convolve(x, 8).flatten(1) @ P["blocks.4.dense.weight"].T + P["blocks.4.dense.bias"]
    torch.testing.assert_close(D(images, lod=1.3)[0], expected)


LAYERS = json.loads((Path(__file__).parents[2] / "golden" / "trainer" / "mnist_1k_layers.json").read_text())


@pytest.mark.parametrize("lod", [0, 1, 2, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_weights_in_use_at_each_resolution_are_those_written_down(rng, name, lod):
    G, D = networks(name)
    images = G(torch.randn(8, 64, generator=rng, dtype=torch.float64), lod=lod)
    D(images, lod=lod)[0].sum().backward()
    for network, expected in ((G, LAYERS[name]["G"]), (D, LAYERS[name]["D"])):
        used = [list(parameter.shape) for parameter in network.parameters() if parameter.grad is not None]
        assert sorted(used) == sorted(expected[str(32 >> lod)])


def test_the_growing_discriminator_uses_457_weights_at_8x8(rng):
    _, D = networks("mnist-rgb-1k+progression+ournorm+mbstddev")
    D(torch.randn(8, 3, 8, 8, generator=rng, dtype=torch.float64), lod=2)[0].sum().backward()
    assert sum(parameter.numel() for parameter in D.parameters() if parameter.grad is not None) == 457


@pytest.mark.parametrize("variant", ["", "+ournorm", "+mbstddev", "+ournorm+mbstddev"])
@pytest.mark.parametrize("lod", [0.5, 1.0, 2.0, 2.7])
def test_they_grow_continuously(rng, variant, lod):
    G, D = networks(f"mnist-rgb-1k+progression{variant}")
    latents = torch.randn(8, 64, generator=rng, dtype=torch.float64)
    images = G(latents, lod=lod)
    torch.testing.assert_close(G(latents, lod=lod + 1e-9), images, rtol=0, atol=1e-6)
    torch.testing.assert_close(D(images, lod + 1e-9)[0], D(images, lod)[0], rtol=0, atol=1e-5)
    if lod == int(lod):  # where a fade begins, the new layers have no weight yet
        larger = G(latents, lod=lod - 1e-9)
        torch.testing.assert_close(larger, upscale2d(images), rtol=0, atol=1e-6)
        torch.testing.assert_close(D(larger, lod - 1e-9)[0], D(images, lod)[0], rtol=0, atol=1e-5)
