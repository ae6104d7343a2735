"""Is there room for what a run leaves behind?"""

import logging
import math
import shutil
from pathlib import Path

from torch import Tensor

from celebahq.errors import ToolError
from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import TrainingSchedule
from trainer.storage.checkpoint import states
from trainer.training.state import TrainingState, tensor_parts
from trainer.use.grids import grid_shape

log = logging.getLogger(__name__)


def require_room(config: TrainingConfig, state: TrainingState, folder: Path) -> None:
    """Say what the rest of a run will take on disk.

    Args:
        config: The run.
        state: Where it is.
        folder: The run's, or the one in which that will be made.

    Raises:
        ToolError: The disk has less.
    """
    ticks, options = ticks_left(config, state.nimg), config.snapshot
    state_bytes = sum(part_bytes(part) for part in tensor_parts(state).values())
    snapshot_bytes = part_bytes(tensor_parts(state)["Gs"])
    kept_states = options.keep_last + 1  # one more while it is written
    if options.keep_every:
        kept_states += ticks // (options.state_ticks * options.keep_every)
    new_states = max(kept_states - len(states(folder)), 1)
    snapshots = ticks // options.network_ticks + 2  # the first and the last
    resolution = config.schedule.resolution
    grids = ticks // options.image_ticks + 2
    pixels = math.prod(grid_shape(resolution)) * resolution**2
    grid_bytes = 2 * pixels * config.generator.channels  # in a file, and in TensorBoard's
    needed = new_states * state_bytes + snapshots * snapshot_bytes + grids * grid_bytes
    free = shutil.disk_usage(
        next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    ).free
    what = (
        f"{folder}: at most {needed / 1e9:.2f} GB on disk for {new_states} states of "
        f"{state_bytes / 1e6:.1f} MB, {snapshots} snapshots of {snapshot_bytes / 1e6:.1f} MB and {grids} "
        f"grids; {free / 1e9:.1f} GB are free"
    )
    if needed > free:
        raise ToolError(
            f"{what}; make room, or keep less", "snapshot.network_ticks, image_ticks, keep_last, keep_every"
        )
    log.info(what)


def ticks_left(config: TrainingConfig, nimg: int) -> int:
    """Ticks from here to the end of a run."""
    schedule = TrainingSchedule(config.schedule)
    ticks = 0.0
    for stage in schedule.stages(config.train.total_kimg):
        kimg = stage.end_kimg - max(stage.fade_kimg, nimg / 1000)
        ticks += max(kimg, 0.0) / schedule.at(stage.stable_kimg).tick_kimg
    return math.ceil(ticks)


def part_bytes(tensors: dict[str, Tensor]) -> int:
    """Of one named group."""
    return sum(tensor.nbytes for tensor in tensors.values())
