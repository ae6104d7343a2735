"""What a computation runs on: a device, threads, and the processes that share the work."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed

from celebahq.console import Progress, status
from celebahq.errors import ToolError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that share the work; the only one unless told."""

    rank: int = 0
    world_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's contiguous part; the parts in the order of ranks are the whole."""
        start, stop = (len(items) * part // self.world_size for part in (self.rank, self.rank + 1))
        return items[start:stop]

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Every process's rows `[m, ...]`, in the order of ranks."""
        if self.world_size == 1:
            return rows
        counts = torch.zeros(self.world_size, dtype=torch.int64, device=rows.device)
        counts[self.rank] = len(rows)
        distributed.all_reduce(counts)
        # Collectives want equal shapes; shares differ by one image at most.
        padded = rows.new_zeros((int(counts.max()), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts.tolist(), strict=True)])

    def deal(self, count: int) -> list[int]:
        """This process's part of 0..count-1, dealt in turn."""
        return list(range(self.rank, count, self.world_size))

    def sum(self, values: Tensor) -> Tensor:
        """The sum of all processes' `values`, on the CPU."""
        if self.world_size > 1:
            distributed.all_reduce(values)
        return values


@dataclass(frozen=True)
class Resources:
    """Where the work is done."""

    device: torch.device
    workers: int = 1
    """Threads that read images and cut patches."""
    ranks: Ranks = Ranks()

    def say(self, message: str) -> None:
        """Tell the user, if this process speaks for all."""
        if self.ranks.leads:
            status(message)

    @contextmanager
    def progress(self, stage: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Report a stage's progress, if this process speaks for all; yields what counts finished items."""
        if not self.ranks.leads:
            yield lambda count: None
            return
        with Progress(stage, total, unit=unit) as progress:
            yield progress.advance


@contextmanager
def shared_resources(device: torch.device, workers: int) -> Iterator[Resources]:
    """What there is to compute with, together with the processes that `torchrun` started, if it did.

    Of several GPUs a process takes the one of its local rank.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Resources(device, workers)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Resources(device, workers, Ranks(distributed.get_rank(), distributed.get_world_size()))
    except RuntimeError as err:
        if isinstance(err, distributed.DistError) or "gloo" in str(err):
            raise ToolError("another process of this run has ended; its message says why") from err
        raise
    finally:
        distributed.destroy_process_group()
