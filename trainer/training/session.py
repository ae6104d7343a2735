"""Starting and continuing a run."""

import dataclasses
import os
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist

from celebahq.console import status
from celebahq.errors import ToolError
from celebahq.processes import World, processes_here
from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import TrainingSchedule
from trainer.storage.checkpoint import states
from trainer.storage.runs import Run, create_run, open_run
from trainer.training.batches import choose_chunks
from trainer.training.data import CACHE_BYTES, TrainingData, to_network_range
from trainer.training.footprint import StepCost, free_memory_bytes, step_costs
from trainer.training.loop import train
from trainer.training.losses import real_fade
from trainer.training.maintenance import Maintenance
from trainer.training.state import TrainingState, load_state, new_state

USABLE_MEMORY = 0.8  # of what is free; convolutions need workspace of their own
INITIAL_REALS = 500  # that minibatch discrimination is initialized from


def start_run(
    config: TrainingConfig,
    data: Path,
    outdir: Path,
    device: torch.device,
    world: World,
    minibatch_gpu: int | None = None,
) -> Path:
    """Make a run folder and train to the end of the schedule.

    Args:
        config: The run.
        data: A pyramid file.
        outdir: Where the folder `NNNNN-NAME` is made.
        device: Of this process.
        world: The processes.
        minibatch_gpu: The most images of a pass; unless given, as many as fit into memory.

    Returns:
        The folder.

    Raises:
        ToolError: The data do not fit the configuration, or a minibatch does not fit into memory.
    """
    prepare_backends(config)
    costs = step_costs(config)
    with open_data(config, data) as reals:
        state = new_state(config, device)
        initialize_from_reals(config, state, reals, device)
        chunks = choose_chunks(
            config,
            world.size,
            bytes_per_image={resolution: cost.peak_bytes for resolution, cost in costs.items()},
            free_bytes=usable_memory_bytes(device, world),
            minibatch_gpu=minibatch_gpu,
        )
        runtime = dataclasses.replace(config.runtime, minibatch_gpu=chunks)
        config = dataclasses.replace(config, runtime=runtime)
        folder = str(create_run(outdir, config, data).folder) if world.is_main else ""
        run = Run(Path(world.same(folder)), config, data)
        if world.is_main:
            status(describe(run, len(reals), world))
        _train(run, state, reals, costs, device, world)
    return run.folder


def resume_run(
    folder: Path,
    device: torch.device,
    world: World,
    *,
    data: Path | None = None,
    on_nan: Literal["stop", "skip"] | None = None,
) -> None:
    """Continue a run from its newest state, on the chunks that it was started with.

    Args:
        folder: `OUTDIR/NNNNN-NAME`.
        device: Of this process.
        world: The processes.
        data: Where the data lie now, if they were moved.
        on_nan: "stop" or "skip" instead of what the run was started with.
    """
    run = open_run(folder, data)
    if on_nan is not None:
        options = dataclasses.replace(run.config.train, on_nan=on_nan)
        run = dataclasses.replace(run, config=dataclasses.replace(run.config, train=options))
    prepare_backends(run.config)
    check_chunks(run.config, world)
    with open_data(run.config, run.data) as reals:
        if states(folder):
            state = load_state(states(folder)[-1], run.config, device)
        else:  # killed before the first state was complete
            state = new_state(run.config, device)
            initialize_from_reals(run.config, state, reals, device)
        if world.is_main:
            status(f"{folder}: continues at {state.nimg / 1000:.1f} of {run.config.train.total_kimg:g} kimg")
        _train(run, state, reals, step_costs(run.config), device, world)


def _train(
    run: Run,
    state: TrainingState,
    reals: TrainingData,
    costs: dict[int, StepCost],
    device: torch.device,
    world: World,
) -> None:
    schedule = TrainingSchedule(run.config.schedule)
    with Maintenance(run, state, reals, schedule, costs, device, world) as maintenance:
        train(run, state, reals, maintenance, device, world)
    if world.is_main:
        status(f"{run.folder}: finished at {state.nimg / 1000:.1f} kimg, {state.skipped_steps} steps skipped")


def open_data(config: TrainingConfig, path: Path) -> TrainingData:
    """Open the reals and check that they are what the networks were configured for.

    Raises:
        ToolError: Too small, other channels or other labels; says which setting would fit.
    """
    network = config.generator
    reals = TrainingData(
        path,
        seed=config.train.seed,
        mirror=config.data.mirror,
        use_labels=network.label_size > 0,
        cache_bytes=CACHE_BYTES // processes_here(),
    )
    reader = reals.reader
    found_labels = 0 if reals.labels is None else reals.labels.shape[1]
    for name, wanted, found, fits in (
        ("resolution", network.resolution, reader.resolution, reader.resolution >= network.resolution),
        ("channels", network.channels, reader.channels, reader.channels == network.channels),
        ("label_size", network.label_size, found_labels, found_labels == network.label_size),
    ):
        if not fits:
            reals.close()
            raise ToolError(
                f"{path}: {name} {found}, but {config.name} has {wanted}; --set {name}={found} fits"
            )
    return reals


def initialize_from_reals(
    config: TrainingConfig, state: TrainingState, reals: TrainingData, device: torch.device
) -> None:
    """Set what depends on data before training starts: minibatch discrimination, if there is any."""
    if not config.discriminator.mbdisc_kernels:
        return
    phase = TrainingSchedule(config.schedule).at(0.0)
    # Each image once: of two equal ones the nearest neighbour would be at distance 0.
    images = reals.first_images(min(INITIAL_REALS, len(reals)), phase.resolution).to(device)
    state.D.initialize_from_reals(real_fade(to_network_range(images), phase.lod), phase.lod)


def usable_memory_bytes(device: torch.device, world: World) -> int:
    """Memory for one process's pass; the same answer on all processes, the smallest."""
    sharing = processes_here() if device.type == "cpu" else 1
    usable = int(USABLE_MEMORY * free_memory_bytes(device) / sharing)
    if world.size == 1:
        return usable
    smallest = torch.tensor(usable, device=device)
    dist.all_reduce(smallest, op=dist.ReduceOp.MIN)
    return int(smallest)


def check_chunks(config: TrainingConfig, world: World) -> None:
    """Raise `ToolError` unless this many processes can share the passes that the run was started with."""
    for stage in TrainingSchedule(config.schedule).stages(config.train.total_kimg):
        chunk = config.runtime.minibatch_gpu[stage.resolution]
        if stage.minibatch // chunk % world.size:
            raise ToolError(
                f"{config.name}: its {stage.minibatch // chunk} passes of {chunk} images at "
                f"{stage.resolution}x{stage.resolution} cannot be shared by {world.size} processes"
            )


def prepare_backends(config: TrainingConfig) -> None:
    """Set PyTorch's switches: TF32 only on request, deterministic kernels on request."""
    runtime = config.runtime
    torch.backends.cuda.matmul.allow_tf32 = runtime.tf32
    torch.backends.cudnn.allow_tf32 = runtime.tf32
    torch.backends.cudnn.benchmark = not runtime.deterministic
    if runtime.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(runtime.deterministic)


def describe(run: Run, images: int, world: World) -> str:
    """What a run is about to do, in one line."""
    config = run.config
    passes = ", ".join(f"{r}: {chunk}" for r, chunk in config.runtime.minibatch_gpu.items())
    return (
        f"{run.folder}: {config.train.total_kimg:g} kimg up to {config.schedule.resolution}x"
        f"{config.schedule.resolution} from {images:,} images, {config.runtime.precision}, {world.size} "
        f"process(es), images per pass {{{passes}}}"
    )
