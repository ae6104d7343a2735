"""Losses against golden numbers, the fade of the reals, and the gradient penalty under compilation."""

import math

import pytest
import torch

from trainer.configuration.config import DiscriminatorConfig
from trainer.networks.layers import downscale2d, upscale2d
from trainer.networks.progressive import Discriminator
from trainer.training.losses import (
    gradient_penalty,
    label_loss,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
    mix_images,
    real_fade,
    update_gdrop,
    wgan_discriminator_loss,
    wgan_generator_loss,
)


def critic(a, b, c=0.0):
    """The golden files' D: 0.5 * sum a x^2 + sum b x + c."""
    return lambda x: (0.5 * a * x * x + b * x).sum(dim=(1, 2, 3)) + c


@pytest.mark.parametrize(
    ("dtype", "rtol"), [(torch.float64, 1e-6), (torch.float32, 1e-5)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("target", [1, 750])
def test_wgan_gp_losses_and_the_second_derivative(golden, target, dtype, rtol):
    g = golden("gradient_penalty", dtype)
    a, b = g["a"].requires_grad_(), g["b"].requires_grad_()
    score = critic(a, b, g["c"])
    real_scores, fake_scores = score(g["real"]), score(g["fake"])
    torch.testing.assert_close(real_scores, g["real_scores"], rtol=rtol, atol=1e-5)
    penalty = gradient_penalty(score, mix_images(g["real"], g["fake"], g["mix_factor"]), target=target)
    assert penalty.item() == pytest.approx(g[f"gp_target{target}_64"].item(), rel=rtol)
    loss = wgan_discriminator_loss(real_scores, fake_scores, drift=0.001) + penalty
    assert loss.item() == pytest.approx(g[f"D_loss_target{target}_64"].item(), rel=rtol, abs=1e-4)
    assert wgan_generator_loss(fake_scores).item() == pytest.approx(g["G_loss"].item(), rel=rtol)
    gradients = torch.autograd.grad(penalty, (a, b))
    torch.testing.assert_close(gradients[0], g[f"dgp_da_target{target}"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[1], g[f"dgp_db_target{target}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", [1, 750])
@pytest.mark.parametrize(("norm_at", "name"), [("full", "fullres"), ("current", "lowres")])
def test_the_norm_is_that_of_full_resolution_unless_told(golden, norm_at, name, target):
    g = golden("gradient_penalty_lod")
    mixed = mix_images(g["real_lowres"], g["fake_lowres"], g["mix_factor"])
    score = critic(g["a"], g["b"])
    penalty = gradient_penalty(score, mixed, float(g["lod"]) + 0.7, target, norm_at=norm_at)
    assert penalty.item() == pytest.approx(g[f"gp_{name}_target{target}"].item(), rel=1e-6)


@pytest.mark.parametrize("lod", [1.0, 2.4])
def test_the_full_resolution_norm_is_what_upscaled_images_give(rng, lod):
    """The original's way: D takes full-size images and averages them down itself."""
    D = Discriminator(DiscriminatorConfig(resolution=32, fmap_base=32, fmap_max=8)).double()
    octaves = math.floor(lod)
    small = torch.randn(4, 3, 32 >> octaves, 32 >> octaves, generator=rng, dtype=torch.float64)
    large = small
    for _ in range(octaves):
        large = upscale2d(large)

    def full_size_score(images):
        for _ in range(octaves):
            images = downscale2d(images)
        return D(images, lod)[0]

    # Pooling spreads each gradient g over 4^l pixels of g / 4^l, whose norm is |g| / 2^l.
    at_full_size = gradient_penalty(full_size_score, large)
    torch.testing.assert_close(gradient_penalty(lambda x: D(x, lod)[0], small, lod), at_full_size)


def test_an_unknown_place_for_the_norm_is_refused():
    with pytest.raises(ValueError, match="norm_at"):
        gradient_penalty(lambda x: x.sum(dim=(1, 2, 3)), torch.zeros(1, 3, 4, 4), norm_at="low")


def test_a_flat_critic_has_a_finite_gradient():
    scale = torch.zeros((), requires_grad=True)
    penalty = gradient_penalty(lambda x: (scale * x).sum(dim=(1, 2, 3)), torch.zeros(2, 3, 4, 4))
    assert penalty.item() == pytest.approx(10.0)
    penalty.backward()
    assert torch.isfinite(scale.grad)


def test_lsgan(golden):
    g = golden("lsgan")
    assert lsgan_discriminator_loss(g["real_scores"], g["fake_scores"]).item() == pytest.approx(
        g["D_loss_64"].item(), rel=1e-9
    )
    assert lsgan_generator_loss(g["fake_scores"]).item() == pytest.approx(g["G_loss_64"].item(), rel=1e-9)


def test_acgan(golden):
    g = golden("acgan")
    fake_term = label_loss(g["fake_logits"], g["fake_labels"])
    d_term = label_loss(g["real_logits"], g["real_labels"]) + fake_term
    assert d_term.item() == pytest.approx(g["D_term_64"].item(), rel=1e-9)
    assert fake_term.item() == pytest.approx(g["G_term_64"].item(), rel=1e-9)


def test_noise_strength_follows_the_losses(golden):
    g = golden("gdrop")
    average, rows = 0.0, []
    for value in g["D_fake_mean"].tolist():
        average, strength = update_gdrop(average, value)
        rows.append([average, strength])
    torch.testing.assert_close(torch.tensor(rows, dtype=torch.float64), g["avg_and_strength_64"])


@pytest.mark.parametrize("lod", [0.0, 0.3, 1.0, 2.6])
def test_reals_fade_in_floating_point(golden, lod):
    g = golden("real_fade", torch.float32)
    reals = g["images_u8"].float() * (2 / 255) - 1
    torch.testing.assert_close(real_fade(reals, lod), g[f"float_lod{lod}"], rtol=1e-5, atol=1e-6)


def test_integer_reals_are_refused():
    with pytest.raises(ValueError, match="floating point"):
        real_fade(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), 0.5)


def test_half_precision_scores_are_averaged_in_float32():
    scores = torch.full((1000, 1), 3.0, dtype=torch.bfloat16)
    for loss in (wgan_discriminator_loss(scores, scores), lsgan_generator_loss(scores)):
        assert loss.dtype == torch.float32
    assert wgan_discriminator_loss(scores, scores).item() == pytest.approx(0.009)


# PyTorch cannot differentiate a compiled module twice. Depending on version and way it raises an error, or
# leaves parameters without a gradient and says nothing.


def penalty_gradients(D, penalty):
    parameters = list(D.parameters())
    return torch.autograd.grad(penalty, parameters, allow_unused=True)


def assert_same_gradients(D, penalty, expected):
    """Fails on a gradient that is missing, as on one that is wrong."""
    for (name, _), got, want in zip(
        D.named_parameters(), penalty_gradients(D, penalty), expected, strict=True
    ):
        assert (got is None) == (want is None), name
        if want is not None:
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6, msg=name)


@pytest.fixture
def penalised(rng):
    """A network, images, and the right gradients of its penalty."""
    torch.manual_seed(0)
    torch.compiler.reset()
    D = Discriminator(DiscriminatorConfig(resolution=8, fmap_base=16, fmap_max=4))
    mixed = torch.randn(8, 3, 8, 8, generator=rng)
    leaf = mixed.clone().requires_grad_()
    (slope,) = torch.autograd.grad(D(leaf, 0.5)[0].sum(), leaf, create_graph=True)
    expected = penalty_gradients(D, 10.0 * (slope.flatten(1).norm(dim=1) - 1.0).square().mean())
    return D, mixed, expected


def test_the_eager_penalty_has_the_right_gradients(penalised):
    D, mixed, expected = penalised
    assert_same_gradients(D, gradient_penalty(lambda x: D(x, 0.5)[0], mixed, 0.5), expected)


def test_a_compiled_function_around_the_penalty_has_the_right_gradients(penalised):
    D, mixed, expected = penalised

    @torch.compile(backend="aot_eager")  # the part of the compiler that differentiates
    def penalty(images, fade):
        return gradient_penalty(lambda x: D.scores(x, 8, fade)[0], images)

    assert_same_gradients(D, penalty(mixed, torch.tensor(0.5)), expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # inside PyTorch's own imports
def test_machine_code_for_the_penalty_has_the_right_gradients(rng):
    layers = torch.nn.Sequential(torch.nn.Linear(12, 4), torch.nn.Softplus(), torch.nn.Linear(4, 1))
    mixed = torch.randn(8, 3, 2, 2, generator=rng)

    def penalty(images):
        return gradient_penalty(lambda x: layers(x.flatten(1)), images)

    expected = penalty_gradients(layers, penalty(mixed))
    assert_same_gradients(layers, torch.compile(penalty)(mixed), expected)


# The compiler looks at `.grad` of what it is given and hides the warning in a way that does not reach errors.
hides_a_warning = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@hides_a_warning
def test_the_penalty_of_a_compiled_network_has_the_right_gradients(penalised):
    D, mixed, expected = penalised
    compiled = torch.compile(D, backend="aot_eager")
    assert_same_gradients(D, gradient_penalty(lambda x: compiled(x, 0.5)[0], mixed, 0.5), expected)


@hides_a_warning
def test_these_tests_catch_the_double_backward_of_a_compiled_network(penalised):
    D, mixed, expected = penalised
    compiled = torch.compile(D, backend="aot_eager")
    leaf = mixed.clone().requires_grad_()
    (slope,) = torch.autograd.grad(compiled(leaf, 0.5)[0].sum(), leaf, create_graph=True, allow_unused=True)
    penalty = 10.0 * (slope.flatten(1).norm(dim=1) - 1.0).square().mean()
    with pytest.raises((AssertionError, RuntimeError)):
        assert_same_gradients(D, penalty, expected)
