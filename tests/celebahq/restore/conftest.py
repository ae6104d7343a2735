"""Small networks with random weights: their results are not near the input, so errors show."""

import pytest
import torch

from celebahq.restore.networks import Network, RedNet, SrResNet


def randomized(network: Network) -> Network:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("tail"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return network.eval().requires_grad_(False)


@pytest.fixture
def deblocker() -> Network:
    torch.manual_seed(0)
    return randomized(RedNet((8, 8, 16), (1, 1, 1), (1, 1)))


@pytest.fixture
def enlarger() -> Network:
    torch.manual_seed(0)
    return randomized(SrResNet(channels=8, blocks=2))
