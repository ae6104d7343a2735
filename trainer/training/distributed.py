"""One process or many: who we are, and sums over all of us.

Gradients are added by one explicit all-reduce after the backward passes. DistributedDataParallel hooks
into the first backward pass, and the gradient penalty has two: explicit is right by construction.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from celebahq.errors import ToolError

WAIT = timedelta(hours=3)  # for rank 0, which alone writes and measures snapshots


@dataclass(frozen=True)
class World:
    """The processes of one run; `rank` 0 writes the files."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and status lines."""
        return self.rank == 0


def launched_world_size() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_here() -> int:
    """How many of them share this machine's memory."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def device_of_rank(name: str) -> str:
    """Under torchrun, `auto` and `cuda` mean the GPU with the process's local rank."""
    if launched_world_size() > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return name


@contextmanager
def join_world(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun started; a world of one without it.

    Raises:
        ToolError: More processes than GPUs on this machine.
    """
    size = launched_world_size()
    if size == 1:
        yield World()
        return
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise ToolError(
                f"torchrun: local rank {device.index}, but PyTorch finds {torch.cuda.device_count()} GPUs; "
                "start no more processes than GPUs"
            )
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=WAIT)
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


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


def sum_over_ranks(values: Tensor, world: World) -> Tensor:
    """The sum of a small tensor over all processes."""
    if world.size > 1:
        dist.all_reduce(values)
    return values


def any_rank(flag: bool, world: World, device: torch.device) -> bool:
    """Whether any process says yes; the same answer everywhere."""
    if world.size == 1:
        return flag
    return bool(sum_over_ranks(torch.tensor(float(flag), device=device), world).item())


def same_on_all_ranks(text: str, world: World) -> str:
    """Rank 0's text, on every rank."""
    if world.size == 1:
        return text
    box = [text]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def check_replicas(network: nn.Module, world: World) -> None:
    """Raise `RuntimeError` on every process unless all hold bit-identical parameters."""
    if world.size == 1:
        return
    differs = False
    for parameter in network.parameters():
        rank0 = parameter.detach().clone()
        dist.broadcast(rank0, src=0)
        differs |= not torch.equal(rank0, parameter)
    if any_rank(differs, world, next(network.parameters()).device):
        raise RuntimeError("the processes hold different weights; the replicas have diverged")


def wait_for_all(world: World) -> None:
    """Wait until every process is here."""
    if world.size > 1:
        dist.barrier()
