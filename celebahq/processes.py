"""One process or the many that torchrun started: who we are, our share, and sums over all of us.

torch is imported only where there are tensors, so that the commands that never see one start at once.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from celebahq.errors import ToolError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

WAIT = timedelta(hours=3)
"""How long a process waits for another: rank 0 alone writes and measures."""


@dataclass(frozen=True)
class World:
    """This process's place among those that share the work; the only one unless told."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks for all."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's contiguous part; the parts in the order of ranks are the whole."""
        start, stop = (len(items) * part // self.size for part in (self.rank, self.rank + 1))
        return items[start:stop]

    def deal(self, count: int) -> list[int]:
        """This process's part of 0..count-1, dealt in turn."""
        return list(range(self.rank, count, self.size))

    def sum(self, values: "Tensor") -> "Tensor":
        """The sum of all processes' `values`, in place."""
        if self.size > 1:
            from torch import distributed

            distributed.all_reduce(values)
        return values

    def any(self, flag: bool, device: "torch.device") -> bool:
        """Whether any process says yes; the same answer everywhere."""
        if self.size == 1:
            return flag
        import torch

        return bool(self.sum(torch.tensor(float(flag), device=device)).item())

    def same(self, text: str) -> str:
        """Rank 0's text, on every rank."""
        if self.size == 1:
            return text
        from torch import distributed

        box = [text]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gather_rows(self, rows: "Tensor") -> "Tensor":
        """Every process's rows `[m, ...]`, in the order of ranks; m may differ."""
        if self.size == 1:
            return rows
        import torch
        from torch import distributed

        counts = torch.zeros(self.size, dtype=torch.int64, device=rows.device)
        counts[self.rank] = len(rows)
        distributed.all_reduce(counts)
        # Collectives want equal shapes.
        padded = rows.new_zeros((int(counts.max()), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts.tolist(), strict=True)])

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            from torch import distributed

            distributed.barrier()


def launched_world_size() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_here() -> int:
    """How many of them share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def device_of_rank(name: str) -> str:
    """What `--device NAME` means for this process: under torchrun, a GPU is the one of its local rank.

    Raises:
        ToolError: Under torchrun, one GPU for all, or fewer GPUs than processes on this machine.
    """
    if launched_world_size() == 1:
        return name
    if name.startswith("cuda:"):
        raise ToolError(
            f"--device {name}",
            "torchrun's processes would all take that GPU; use --device cuda, "
            "which gives each the GPU of its local rank, and CUDA_VISIBLE_DEVICES to choose among them",
        )
    if name not in ("auto", "cuda"):
        return name
    import torch

    if not torch.cuda.is_available():
        return name
    local_rank, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local_rank >= found:
        raise ToolError(
            f"torchrun's local rank {local_rank}",
            f"PyTorch finds {found} GPUs; start no more processes than GPUs",
        )
    return f"cuda:{local_rank}"


def is_device_name(name: str) -> bool:
    """Whether this is `auto`, `cpu`, `cuda` or `cuda:N`."""
    return re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", name) is not None


def choose_device(name: str) -> "torch.device":
    """The device that `auto`, `cpu`, `cuda` or `cuda:N` means for this process, if it is really there.

    Raises:
        ToolError: Another kind of device, or a GPU where there is none: never a silent CPU.
    """
    import torch

    name = device_of_rank(name)
    if not is_device_name(name):
        raise ToolError(f"--device {name}", "not a device; use auto, cpu, cuda or cuda:N")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ToolError(f"--device {name}", f"PyTorch finds {found} CUDA devices; use --device cpu or auto")
    return device


@contextmanager
def _prints_go_to_stderr() -> Iterator[None]:
    """For PyTorch 2.10, whose C++ says on stdout, where results belong, that processes are connected."""
    sys.stdout.flush()
    stdout, stderr = 1, 2
    kept = os.dup(stdout)
    os.dup2(stderr, stdout)
    try:
        yield
    finally:
        os.dup2(kept, stdout)
        os.close(kept)


@contextmanager
def join_world(device: "torch.device") -> Iterator[World]:
    """Join the processes that torchrun started; a world of one without it.

    Args:
        device: What `device_of_rank` chose, on which tensors are summed and gathered; those on the CPU too.

    Raises:
        ToolError: Another process has ended meanwhile.
    """
    if launched_world_size() == 1:
        yield World()
        return
    import torch
    from torch import distributed

    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with _prints_go_to_stderr():
        distributed.init_process_group(backend, timeout=WAIT)
    try:
        yield World(distributed.get_rank(), distributed.get_world_size())
    except RuntimeError as err:
        if isinstance(err, distributed.DistError) or "gloo" in str(err):
            raise ToolError("another process of this run has ended; its message says why") from err
        raise
    finally:
        distributed.destroy_process_group()
