"""What the coming steps look like."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from celebahq.processes import World
from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import Phase
from trainer.randomness import Indices
from trainer.training.batches import chunk_rows, group_size


@dataclass(frozen=True)
class StepPlan:
    """All that the schedule and the division of a minibatch decide about the steps of one process."""

    phase: Phase
    fade: float | Tensor
    """Weight of the lower resolution."""
    chunks: tuple[Indices, ...]
    """`[n]` each: the rows of the minibatch that this process takes in one pass."""

    @property
    def resolution(self) -> int:
        """Of the images."""
        return self.phase.resolution

    @property
    def minibatch(self) -> int:
        """Images of all processes together."""
        return self.phase.minibatch

    @property
    def share(self) -> float:
        """Weight of one pass in the means over the minibatch."""
        return len(self.chunks[0]) / self.phase.minibatch

    @property
    def rows(self) -> Indices:
        """`[n]` rows of the minibatch that this process takes, pass by pass."""
        return np.concatenate(self.chunks)


def plan_steps(config: TrainingConfig, phase: Phase, world: World, device: torch.device) -> StepPlan:
    """The plan of one process for the steps of a phase."""
    chunk = config.runtime.minibatch_gpu[phase.resolution]
    chunks = chunk_rows(phase.minibatch, chunk, group_size(config, phase.minibatch, chunk))
    fade: float | Tensor = phase.lod - int(phase.lod)
    if config.runtime.compile and fade > 0:
        fade = torch.tensor(fade, device=device)  # a tensor can change without a new compilation
    return StepPlan(phase, fade, tuple(chunks[world.rank :: world.size]))
