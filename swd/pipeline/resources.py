"""What a computation runs on, and whom it tells: a device, threads, processes, a progress callback."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from celebahq.jobs.progress import Progress, Stage, silent
from celebahq.processes import World

ALONE = World()

log = logging.getLogger("swd")

WARNING = "warning: "


@dataclass(frozen=True)
class Resources:
    """Where the work is done."""

    device: torch.device
    workers: int = 1
    """Threads that read images and cut patches."""
    world: World = ALONE
    on_progress: Progress = silent

    def say(self, message: str) -> None:
        """Log what the user should know, once for all processes; what begins with `warning: ` as one."""
        text = message.removeprefix(WARNING)
        if self.world.is_main:
            log.log(logging.INFO if text == message else logging.WARNING, "%s", text)

    def warn(self, message: str) -> None:
        """Log what makes figures mean something else than they seem to."""
        if self.world.is_main:
            log.warning("%s", message)

    @contextmanager
    def progress(self, stage: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Report a stage's progress, if this process speaks for all; yields what counts finished items."""
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if self.world.is_main:
                self.on_progress(Stage(stage, done, total, unit=unit))

        advance(0)
        yield advance
