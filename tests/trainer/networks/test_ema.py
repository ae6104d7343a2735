"""The averaged generator against the golden numbers."""

import torch
from torch import nn

from trainer.networks.ema import update_average


def test_six_updates_hold_the_golden_values(golden):
    values = golden("ema")
    average, network = nn.Linear(11, 1, bias=False).double(), nn.Linear(11, 1, bias=False).double()
    average.weight.data.copy_(values["init"])
    for parameters in values["params"]:
        network.weight.data.copy_(parameters)
        update_average(average, network, float(values["beta"]))
    torch.testing.assert_close(average.weight.data[0], values["result_64"].reshape(-1), rtol=1e-6, atol=1e-9)


def test_buffers_are_copied():
    average, network = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    network(torch.randn(5, 3))
    update_average(average, network, 0.9)
    assert torch.equal(average.running_var, network.running_var)
