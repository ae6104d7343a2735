"""The activations with derivatives of their own against what autograd makes of the plain functions."""

import pytest
import torch
import torch.nn.functional as F

from trainer.networks.activations import leaky_relu_and_pixel_norm, lean_leaky_relu
from trainer.networks.layers import pixel_norm


def test_lean_leaky_relu_has_the_derivatives_of_pytorchs_to_the_bit(rng):
    x = torch.randn(3, 4, 5, 5, generator=rng)
    weights = [torch.randn(x.shape, generator=rng) for _ in range(2)]
    found = []
    for function in (lean_leaky_relu, F.leaky_relu):
        point = x.clone().requires_grad_()
        y = function(point, 0.2)
        (first,) = torch.autograd.grad((y * y * weights[0]).sum(), point, create_graph=True)
        (second,) = torch.autograd.grad((first * first * weights[1]).sum(), point, create_graph=True)
        (third,) = torch.autograd.grad(second.square().sum(), point)
        found.append((y, first, second, third))
    for ours, theirs in zip(*found, strict=True):
        assert ours.equal(theirs)


def test_lean_leaky_relu_can_be_differentiated_by_functions(rng):
    x = torch.randn(6, generator=rng)
    found, expected = (
        torch.func.grad(lambda v, f=f: f(v, 0.2).square().sum())(x) for f in (lean_leaky_relu, F.leaky_relu)
    )
    assert found.equal(expected)


@pytest.mark.parametrize("slope", [0.2, 0.0])
@pytest.mark.parametrize("scale", [1.0, 1e-4])  # at the lower end epsilon counts
def test_leaky_relu_and_pixel_norm_in_one_step(slope, scale, rng):
    x = (scale * torch.randn(2, 16, 5, 3, generator=rng)).bfloat16()
    given = torch.randn(x.shape, generator=rng).bfloat16()
    exact, rounded = x.double().requires_grad_(), x.clone().requires_grad_()
    expected = pixel_norm(F.leaky_relu(exact, slope))
    found = leaky_relu_and_pixel_norm(rounded, slope)
    expected.backward(given.double())
    found.backward(given)
    # Results carry two roundings to 8 bits; gradients some more, and they are differences.
    torch.testing.assert_close(found.double(), expected, rtol=0.01, atol=0.002)
    assert torch.linalg.vector_norm(rounded.grad - exact.grad) < 0.01 * torch.linalg.vector_norm(exact.grad)


def test_a_second_derivative_of_the_one_step_is_refused():
    x = torch.randn(1, 4, 2, 2).bfloat16().requires_grad_()
    y = leaky_relu_and_pixel_norm(x, 0.2)
    with pytest.raises(RuntimeError, match="can be differentiated once"):
        torch.autograd.grad(y.sum(), x, create_graph=True)
