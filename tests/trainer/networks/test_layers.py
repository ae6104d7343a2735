"""Layers against golden numbers computed from the formulas, and their claims of equality."""

import pytest
import torch

from trainer.networks.layers import (
    LayerNorm,
    MinibatchDiscrimination,
    ScaledConv2d,
    ScaledLinear,
    downscale2d,
    minibatch_stddev,
    multiplicative_noise,
    pixel_norm,
    upscale2d,
)

PRECISIONS = [
    pytest.param(torch.float64, {"rtol": 1e-6, "atol": 1e-6}, id="float64"),  # the files' float32 rounding
    pytest.param(torch.float32, {"rtol": 1e-5, "atol": 1e-5}, id="float32"),
]


def with_weights(layer, w, b):
    layer = layer.to(w.dtype)
    layer.load_state_dict({"weight": w, "bias": b})
    return layer


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("name", ["eqconv_k3_sqrt2", "eqconv_k1_gain1", "eqconv_k1_sqrt2"])
def test_convolution_scales_its_weights_at_run_time(golden, name, dtype, tolerance):
    g = golden(name, dtype)
    maps_out, maps_in, size, _ = g["w"].shape
    layer = with_weights(ScaledConv2d(maps_in, maps_out, size, gain=float(g["gain"])), g["w"], g["b"])
    torch.testing.assert_close(layer(g["x"]), g["y"], **tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_first_dense_layer_has_one_bias_per_feature_map(golden, dtype, tolerance):
    g = golden("eqdense_4x4", dtype)
    layer = with_weights(ScaledLinear(16, 96, per_map=16, gain=float(g["gain"])), g["w"], g["b"])
    torch.testing.assert_close(layer(g["z"]).reshape(3, 6, 4, 4), g["y"], **tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_last_dense_layer(golden, dtype, tolerance):
    g = golden("eqlinear", dtype)
    layer = with_weights(ScaledLinear(16, 7, gain=1.0), g["w"], g["b"])
    torch.testing.assert_close(layer(g["x"]), g["y"], **tolerance)


@pytest.mark.parametrize(("use_wscale", "stored"), [(True, 1.0), (False, 2**0.5 / 24)])
def test_stored_weights_have_the_stated_deviation(use_wscale, stored):
    torch.manual_seed(0)
    layer = ScaledConv2d(64, 256, 3, use_wscale=use_wscale)
    # 147,456 draws: a standard error of 0.2 %.
    assert layer.weight.std().item() == pytest.approx(stored, rel=0.01)
    assert layer.scaled_weight().std().item() == pytest.approx(2**0.5 / 24, rel=0.01)  # sqrt(2 / (64 * 9))


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("given", "expected"), [("x", "y"), ("z", "zy")])
def test_pixel_norm(golden, given, expected, dtype, tolerance):
    g = golden("pixelnorm", dtype)
    torch.testing.assert_close(pixel_norm(g[given]), g[expected], **tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(
    ("count", "group"), [(2, 4), (2, 2), (2, "all"), (4, 4), (8, 4), (8, 8), (16, 4), (16, 16), (16, "all")]
)
def test_minibatch_stddev(golden, count, group, dtype, tolerance):
    g = golden(f"mbstd_N{count}", dtype)
    expected = g[f"y_group{count if group == 'all' else group}"]
    torch.testing.assert_close(minibatch_stddev(g["x"], group), expected, **tolerance)


def test_minibatch_stddev_refuses_a_minibatch_that_its_groups_do_not_divide():
    with pytest.raises(ValueError, match="6 images cannot be divided into groups of 4"):
        minibatch_stddev(torch.zeros(6, 1, 4, 4), 4)


@pytest.mark.parametrize("factor", [2, 4])
def test_resampling(golden, factor):
    g = golden("resample")
    up, down = upscale2d(g["x"]), downscale2d(g["x"])
    if factor == 4:
        up, down = upscale2d(up), downscale2d(down)
    torch.testing.assert_close(up, g[f"up{factor}"], rtol=0, atol=0)
    torch.testing.assert_close(down, g[f"down{factor}"], rtol=1e-6, atol=1e-6)


def test_fused_layers_hold_the_golden_values(golden):
    g = golden("fused_scale")
    for fused, expected in (("up", g["up_conv"]), ("down", g["conv_down"])):
        layer = ScaledConv2d(5, 6, 3, fused=fused)
        with_weights(layer, g["w"], torch.zeros(6, dtype=torch.float64))
        torch.testing.assert_close(layer(g["x"]), expected, rtol=1e-6, atol=1e-6)


def test_fused_layers_equal_the_two_steps_with_bias_and_gradients(rng):
    layer = ScaledConv2d(3, 5, 3).double()
    layer.bias.data.normal_(generator=rng)
    up, down = ScaledConv2d(3, 5, 3, fused="up"), ScaledConv2d(3, 5, 3, fused="down")
    for one_step in (up, down):
        one_step.weight, one_step.bias = layer.weight, layer.bias
    x = torch.randn(2, 3, 8, 6, generator=rng, dtype=torch.float64)
    for fused, two_steps in ((up(x), layer(upscale2d(x))), (down(x), downscale2d(layer(x)))):
        torch.testing.assert_close(fused, two_steps, rtol=1e-12, atol=1e-12)
        given = torch.randn(fused.shape, generator=rng, dtype=torch.float64)
        gradients = [torch.autograd.grad((y * given).sum(), layer.weight)[0] for y in (fused, two_steps)]
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_layer_norm(golden, dtype, tolerance):
    g = golden("layernorm", dtype)
    layer = LayerNorm(5).to(dtype)
    layer.load_state_dict({"weight": g["gain"].reshape(1), "bias": g["b"]})
    torch.testing.assert_close(torch.nn.functional.leaky_relu(layer(g["x"]), 0.2), g["y"], **tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_minibatch_discrimination(golden, dtype, tolerance):
    g = golden("minibatch_discrimination", dtype)
    layer = MinibatchDiscrimination(20, kernels=5, dim=5).to(dtype)
    layer.load_state_dict({"theta": g["theta"], "log_scale": g["log_weight_scale"], "bias": g["b"]})
    torch.testing.assert_close(layer(g["x"]), g["y"], **tolerance)


def test_minibatch_discrimination_starts_from_data_with_neighbours_2_apart_and_mean_0(rng):
    layer = MinibatchDiscrimination(20, kernels=7).double()
    x = 100.0 * torch.randn(50, 20, generator=rng, dtype=torch.float64)
    layer.initialize(x)
    nearest = layer.distances(x).amin(dim=1).mean(dim=0)
    torch.testing.assert_close(nearest, torch.full_like(nearest, 2.0))
    means = layer(x)[:, 20:].mean(dim=0)
    torch.testing.assert_close(means, torch.zeros_like(means), rtol=0, atol=1e-12)


def test_multiplicative_noise(golden):
    g = golden("gdrop")
    y = multiplicative_noise(g["x"], float(g["strength"]), g["noise"])
    torch.testing.assert_close(y, g["y"], rtol=1e-6, atol=1e-6)


def test_statistics_are_float32_under_half_precision(rng):
    # Sums of 65,536 equal bfloat16 numbers would stall at 256.
    x = torch.full((4, 4, 128, 128), 3.0, dtype=torch.bfloat16)
    torch.testing.assert_close(pixel_norm(x), torch.ones_like(x))
    x[0] = 1.0
    deviation = minibatch_stddev(x, 4)[0, -1, 0, 0].item()
    assert deviation == pytest.approx(2 * 0.1875**0.5, rel=0.004)  # bfloat16 keeps 8 bits


def test_minibatch_discrimination_is_float32_under_autocast(rng):
    layer, x = MinibatchDiscrimination(20, kernels=7), torch.randn(6, 20, generator=rng)
    with torch.autocast("cpu", torch.bfloat16):
        distances = layer.distances(x)
    assert torch.equal(distances, layer.distances(x))
