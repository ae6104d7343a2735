"""How one minibatch is divided among processes and passes without changing what is computed.

The rows of a minibatch are dealt out in chunks; a process runs its chunks one after the other and adds up
their gradients. Minibatch standard deviation looks at groups of images, image n of M being in group
n mod (M / G) with the others of the same remainder; a chunk takes whole groups, so that the gradients are
those of the undivided minibatch, whatever the number of processes and chunks.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from celebahq.errors import ToolError
from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import TrainingSchedule
from trainer.randomness import Indices

if TYPE_CHECKING:
    from trainer.training.costs import StepCost


def group_size(config: TrainingConfig, minibatch: int, share: int) -> int:
    """Images that one statistic spans: the minibatch itself where a layer needs all of it.

    A pass or a process with fewer images than a group (`share`) takes them all as one group.
    """
    if config.needs_whole_minibatch:
        return minibatch
    group = config.discriminator.mbstd_group_size
    assert isinstance(group, int)
    return min(max(group, 1), share)


def chunk_rows(minibatch: int, chunk: int, group: int) -> list[Indices]:
    """Divide the rows 0 .. minibatch-1 into chunks of whole groups, each in the order that keeps its groups.

    Args:
        minibatch: M, a multiple of `chunk`.
        chunk: Images per pass, a multiple of `group`.
        group: Images per group.

    Returns:
        M / chunk arrays `[chunk]`.
    """
    grid = np.arange(minibatch).reshape(group, minibatch // group)  # column s is group s
    width = chunk // group
    return [grid[:, start : start + width].reshape(-1) for start in range(0, minibatch // group, width)]


def possible_chunks(config: TrainingConfig, minibatch: int, world_size: int) -> list[int]:
    """Chunk sizes that every process can run a whole number of, smallest first.

    Raises:
        ToolError: The minibatch cannot be shared by that many processes.
    """
    group = group_size(config, minibatch, minibatch // world_size)
    if not group:
        raise ToolError(f"a minibatch of {minibatch}", f"cannot feed {world_size} processes; use fewer")
    if minibatch % (group * world_size):
        reason = (
            "a layer needs the whole minibatch" if group == minibatch else f"it is made of groups of {group}"
        )
        raise ToolError(
            f"a minibatch of {minibatch}",
            f"cannot be shared by {world_size} processes ({reason}); use another number of processes or set "
            "schedule.minibatch",
        )
    share = minibatch // world_size
    return [chunk for chunk in range(group, share + 1, group) if share % chunk == 0]


def require_shareable(config: TrainingConfig, world_size: int) -> None:
    """Raise `ToolError` unless that many processes can share every minibatch of a run."""
    for stage in TrainingSchedule(config.schedule).stages(config.train.total_kimg):
        possible_chunks(config, stage.minibatch, world_size)


def choose_chunks(
    config: TrainingConfig,
    world_size: int,
    *,
    costs: "Mapping[int, StepCost] | None" = None,
    free_bytes: int = 0,
    minibatch_gpu: int | None = None,
) -> dict[int, int]:
    """Images per pass at each resolution of the run.

    Args:
        config: The run.
        world_size: Number of processes.
        costs: What a training step of each resolution takes.
        free_bytes: Memory that a step may use; with `costs` it limits the chunks.
        minibatch_gpu: Instead, the largest chunk that the user wants.

    Raises:
        ToolError: Not even the smallest chunk fits; names the memory that it would need.
    """
    chosen = {}
    for stage in TrainingSchedule(config.schedule).stages(config.train.total_kimg):
        resolution = stage.resolution
        possible = possible_chunks(config, stage.minibatch, world_size)
        if minibatch_gpu is not None:
            limit, told = minibatch_gpu, f"--minibatch-gpu {minibatch_gpu} allows"
        elif costs is not None:
            limit = costs[resolution].images_in(free_bytes)
            told = f"{free_bytes / 1e9:.1f} GB of free memory hold"
        else:
            raise ValueError("either costs or minibatch_gpu must be given")
        fitting = [chunk for chunk in possible if chunk <= limit]
        if not fitting:
            raise _too_small(config, resolution, possible[0], told, limit, costs)
        chosen[resolution] = fitting[-1]
    return chosen


def _too_small(
    config: TrainingConfig,
    resolution: int,
    smallest: int,
    told: str,
    limit: int,
    costs: "Mapping[int, StepCost] | None",
) -> ToolError:
    needs = f"needs at least {smallest} images"
    if costs is not None:
        needs += f", about {costs[resolution].bytes_of(smallest) / 1e9:.1f} GB"
    remedy = "set schedule.minibatch lower or use a device with more memory"
    if config.needs_whole_minibatch:
        needs += " (a layer looks at the whole minibatch, so it cannot be divided)"
        remedy = "set a lower schedule.minibatch, or discriminator.mbstd_group_size=4 if that is the layer"
    return ToolError(f"a pass at {resolution}x{resolution}", f"{needs}; {told} {limit}; {remedy}")
