"""What a computation runs on: a device, threads, and the processes that share the work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from celebahq.console import Progress, status
from celebahq.processes import World

ALONE = World()


@dataclass(frozen=True)
class Resources:
    """Where the work is done."""

    device: torch.device
    workers: int = 1
    """Threads that read images and cut patches."""
    world: World = ALONE

    def say(self, message: str) -> None:
        """Tell the user, if this process speaks for all."""
        if self.world.is_main:
            status(message)

    @contextmanager
    def progress(self, stage: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Report a stage's progress, if this process speaks for all; yields what counts finished items."""
        if not self.world.is_main:
            yield lambda count: None
            return
        with Progress(stage, total, unit=unit) as progress:
            yield progress.advance
