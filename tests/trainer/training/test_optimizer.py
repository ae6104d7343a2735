"""Adam against the formula in float64, and against PyTorch's with the epsilon translated."""

import copy
import math

import torch
from torch import nn

from trainer.training.optimizer import Adam


def gradients_for(network: nn.Module, steps: int, scale: float) -> list[list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        [scale * torch.randn(p.shape, generator=generator) for p in network.parameters()]
        for _ in range(steps)
    ]


def test_it_follows_the_formula_where_epsilon_matters():
    network = nn.Linear(5, 4)
    optimizer = Adam(network.named_parameters(), beta1=0.5, beta2=0.99, eps=1e-4)
    expected = [p.detach().double().clone() for p in network.parameters()]
    first = [torch.zeros_like(p) for p in expected]
    second = [torch.zeros_like(p) for p in expected]
    for t, grads in enumerate(gradients_for(network, 6, 1e-4), start=1):
        for p, g in zip(network.parameters(), grads, strict=True):
            p.grad = g
        optimizer.step(0.01)
        for i, g in enumerate(grads):
            first[i] = 0.5 * first[i] + 0.5 * g.double()
            second[i] = 0.99 * second[i] + 0.01 * g.double() ** 2
            rate = 0.01 * math.sqrt(1 - 0.99**t) / (1 - 0.5**t)
            expected[i] -= rate * first[i] / (second[i].sqrt() + 1e-4)
    for p, e in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(p.double(), e, rtol=1e-5, atol=1e-7)


def test_it_is_pytorchs_adam_with_the_epsilon_of_each_step_translated():
    ours = nn.Linear(7, 3)
    theirs = copy.deepcopy(ours)
    optimizer = Adam(ours.named_parameters(), beta1=0.0, beta2=0.99, eps=1e-8)
    reference = torch.optim.Adam(theirs.parameters(), betas=(0.0, 0.99))
    for t, grads in enumerate(gradients_for(ours, 10, 1e-6), start=1):
        for network in (ours, theirs):
            for p, g in zip(network.parameters(), grads, strict=True):
                p.grad = g.clone()
        optimizer.step(0.003)
        reference.param_groups[0].update(lr=0.003, eps=1e-8 / math.sqrt(1 - 0.99**t))
        reference.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_parameters_without_a_gradient_stay():
    network = nn.Linear(3, 2)
    optimizer = Adam(network.named_parameters())
    bias = network.bias.detach().clone()
    network.weight.grad = torch.ones_like(network.weight)
    optimizer.step(0.1)
    assert torch.equal(network.bias, bias)
    assert optimizer.t == 1


def test_state_makes_the_next_step_the_same():
    network = nn.Linear(3, 2)
    optimizer = Adam(network.named_parameters(), beta1=0.9)
    grads = gradients_for(network, 4, 1.0)

    def step(target: nn.Module, adam: Adam, values: list[torch.Tensor]) -> None:
        for p, g in zip(target.parameters(), values, strict=True):
            p.grad = g.clone()
        adam.step(0.01)

    for values in grads[:3]:
        step(network, optimizer, values)
    twin = copy.deepcopy(network)
    continued = Adam(twin.named_parameters(), beta1=0.9)
    continued.load_state_dict(optimizer.state_dict())
    step(network, optimizer, grads[3])
    step(twin, continued, grads[3])
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)
