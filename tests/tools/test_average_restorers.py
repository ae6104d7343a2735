"""Averages of networks: `tools/average_restorers.py`."""

import average_restorers
import pytest
import torch

from celebahq.errors import ToolError
from celebahq.restore.networks import SrResNet


def test_weights_are_the_mean_of_all():
    networks = [SrResNet(channels=4, blocks=1) for _ in range(3)]
    expected = [
        sum(p.detach() for p in parts) / 3 for parts in zip(*(n.parameters() for n in networks), strict=True)
    ]
    found = average_restorers.average(networks)
    for mine, mean in zip(found.parameters(), expected, strict=True):
        torch.testing.assert_close(mine.detach(), mean)


def test_other_architectures_are_refused():
    with pytest.raises(ToolError, match="different architectures"):
        average_restorers.average([SrResNet(channels=4, blocks=1), SrResNet(channels=4, blocks=2)])
