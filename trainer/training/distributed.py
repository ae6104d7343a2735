"""Many processes, one training: gradients are summed, replicas stay equal.

Gradients are added by one explicit all-reduce after the backward passes. DistributedDataParallel hooks
into the first backward pass, and the gradient penalty has two: explicit is right by construction.
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn

from celebahq.processes import World


def sum_gradients(parameters: Iterable[nn.Parameter], world: World) -> None:
    """Replace every gradient by its sum over all processes."""
    if world.size == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view_as(gradient))


def check_replicas(network: nn.Module, world: World) -> None:
    """Raise `RuntimeError` on every process unless all hold bit-identical parameters."""
    if world.size == 1:
        return
    differs = False
    for parameter in network.parameters():
        rank0 = parameter.detach().clone()
        dist.broadcast(rank0, src=0)
        differs |= not torch.equal(rank0, parameter)
    if world.any(differs, next(network.parameters()).device):
        raise RuntimeError("the processes hold different weights; the replicas have diverged")
