"""The averaged generator."""

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, beta: float) -> None:
    """Move `average` towards `network`: Gs = beta * Gs + (1 - beta) * G; buffers are copied.

    One call per generator step. Both originals average the generator as it was *before* that step.

    Source: paper, section 6 ("exponential running average ... with decay 0.999").
    """
    pairs = list(zip(average.parameters(), network.parameters(), strict=True))
    torch._foreach_lerp_([a for a, _ in pairs], [p for _, p in pairs], 1 - beta)
    for kept, current in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(current)
