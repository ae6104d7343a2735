"""Weights rounded once for several uses: the gradients of the weights rounded at each."""

import copy

import pytest
import torch

from trainer.configuration.config import DiscriminatorConfig
from trainer.networks.progressive import Discriminator
from trainer.networks.ready import ready_weights


@pytest.mark.parametrize("fused_scale", [False, True])
def test_gradients_are_those_of_weights_rounded_at_every_use(fused_scale, rng):
    config = DiscriminatorConfig(resolution=16, fmap_base=64, fmap_max=16, fused_scale=fused_scale)
    torch.manual_seed(0)
    plain = Discriminator(config)
    ready = copy.deepcopy(plain)
    images = [torch.randn(4, 3, 8, 8, generator=rng) for _ in range(2)]

    def backward(network: Discriminator) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            scores = network(images[0], 1.0)[0].sum() - network(images[1], 1.0)[0].square().sum()
        scores.backward()

    for _ in range(2):  # the second time on top of the first
        backward(plain)
        backward(plain)
        with ready_weights(ready, 8, torch.bfloat16) as set_aside:
            backward(ready)
            set_aside()
            backward(ready)
    gradients = {name: p.grad for name, p in ready.named_parameters()}
    assert {name for name, g in gradients.items() if g is None} == {
        name for name, p in plain.named_parameters() if p.grad is None
    }
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            found = gradients[name]
            assert found.dtype == torch.float32
            error = torch.linalg.vector_norm(found - parameter.grad)
            # Sums of gradients are rounded to 8 bits as the gradients are, here four times.
            assert error < 0.03 * torch.linalg.vector_norm(parameter.grad), name


def test_outside_nothing_is_left_behind():
    network = Discriminator(DiscriminatorConfig(resolution=8, fmap_base=64, fmap_max=8))
    with pytest.raises(KeyError), ready_weights(network, 8, torch.bfloat16):
        assert network.blocks["8"].conv0.ready is not None
        raise KeyError
    assert network.blocks["8"].conv0.ready is None
    with torch.no_grad(), ready_weights(network, 4, torch.bfloat16):
        assert network.blocks["4"].conv.ready is not None
        assert network.blocks["8"].conv0.ready is None  # above the resolution
