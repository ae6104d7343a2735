"""Small networks with random weights: their results are not near the input, so errors show."""

import numpy as np
import pytest
import torch

from celebahq.restore.degrade import Photo
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


@pytest.fixture(scope="session")
def photo() -> Photo:
    """A picture with edges, gradients and texture, 301x237."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:301, :237]
    layers = [127 + 90 * np.sin(y / period) * np.cos(x / (period + 3)) for period in (5, 17, 41)]
    picture = np.stack(layers, axis=2) + rng.normal(0, 6, (301, 237, 3))
    picture[100:180, 60:140] += 60
    return np.clip(picture, 0, 255).astype(np.uint8)
