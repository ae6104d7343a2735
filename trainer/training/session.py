"""Starting and continuing a run."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from celebahq.errors import ToolError
from celebahq.jobs.locks import is_held, owning
from celebahq.processes import World, choose_device, device_of_rank, join_world
from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import TrainingSchedule
from trainer.networks.backends import prepare_backends
from trainer.storage.runs import LOCK, Run, create_run, forget_reals, history, open_run, run_identity
from trainer.training.changes import change_run, keep_config
from trainer.training.costs import StepCost, step_costs
from trainer.training.data import TrainingData, open_data, to_network_range
from trainer.training.disk import require_room
from trainer.training.loop import training_loop
from trainer.training.losses import real_fade
from trainer.training.maintenance import Maintenance
from trainer.training.memory import fit_passes
from trainer.training.starting_point import begin_with, load_trained
from trainer.training.state import TrainingState, grown, new_state, newest_state, set_aside
from trainer.use.run_page import write_run_page

log = logging.getLogger(__name__)

INITIAL_REALS = 500  # that minibatch discrimination is initialized from


def train(
    config: TrainingConfig,
    data: str | Path,
    outdir: str | Path,
    *,
    device: str = "auto",
    minibatch_gpu: int | None = None,
    init: str | Path | None = None,
) -> Path:
    """Train into a new folder `OUTDIR/NNNNN-NAME`: what `trainer run` does, under torchrun as well.

    Args:
        config: The run; `trainer.preset` has the published ones.
        data: A pyramid file.
        outdir: Where the folder is made.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        minibatch_gpu: The most images of a pass; unless given, as many as fit into memory.
        init: A run, one of its states, a snapshot, or the authors' pickle, to begin with its networks.

    Returns:
        The folder, which `trainer.load_snapshot` takes. What happens is logged by the logger `trainer`.

    Raises:
        ToolError: The data do not fit the configuration, or memory or disk do not suffice.
        KeyboardInterrupt: A signal came; the state was saved.

    >>> import celebahq, dataclasses, numpy, trainer
    >>> with celebahq.PyramidWriter("black.h5", 32) as pyramid:
    ...     pyramid.append(numpy.zeros((16, 3, 32, 32), numpy.uint8))
    >>> config = trainer.preset("smoke")
    >>> config = dataclasses.replace(config, train=dataclasses.replace(config.train, total_kimg=0.032))
    >>> run = trainer.train(config, "black.h5", "runs", device="cpu")
    >>> trainer.load_snapshot(run).nimg
    32
    """
    chosen = choose_device(device_of_rank(device))
    first = None if init is None else Path(init)
    with join_world(chosen) as world:
        return start_run(config, Path(data), Path(outdir), chosen, world, minibatch_gpu, first)


def start_run(
    config: TrainingConfig,
    data: Path,
    outdir: Path,
    device: torch.device,
    world: World,
    minibatch_gpu: int | None = None,
    init: Path | None = None,
) -> Path:
    """Make a run folder and train to the end of the schedule.

    Args:
        config: The run.
        data: A pyramid file.
        outdir: Where the folder `NNNNN-NAME` is made.
        device: Of this process.
        world: The processes.
        minibatch_gpu: The most images of a pass; unless given, as many as fit into memory.
        init: Networks to begin with; see `starting_point.load_trained`.

    Returns:
        The folder.

    Raises:
        ToolError: The data do not fit the configuration, or a minibatch does not fit into memory.
    """
    asked = config
    with prepared(config, data, outdir, device, world, minibatch_gpu, init) as (config, state, reals, costs):
        identity = run_identity(asked, data, state.G.state_dict())
        folder = str(create_run(outdir, config, data, identity).folder) if world.is_main else ""
        run = Run(Path(world.same(folder)), config, data, identity)
        with locked(run.folder, world):
            if world.is_main:
                facts: dict[str, Any] = {"processes": world.size, "device": str(device)}
                facts |= {} if init is None else {"init": str(init.resolve())}
                keep_config(run, "begun", 0, **facts)
                log.info(describe(run, len(reals), world))
            _train(run, state, reals, costs, device, world)
    return run.folder


@contextmanager
def prepared(
    config: TrainingConfig,
    data: Path,
    outdir: Path,
    device: torch.device,
    world: World,
    minibatch_gpu: int | None = None,
    init: Path | None = None,
) -> Iterator[tuple[TrainingConfig, TrainingState, TrainingData, dict[int, StepCost]]]:
    """What a run begins with: the configuration with its passes, networks, reals and costs; writes nothing.

    Raises:
        ToolError: As `start_run`.
    """
    prepare_backends(config.runtime)
    with open_data(config, data) as reals:  # before what takes long
        costs = step_costs(config)
        state = first_state(config, reals, device, world, init)
        config = fit_passes(config, world, device, costs, minibatch_gpu=minibatch_gpu)
        if world.is_main:
            require_room(config, state, outdir)
        yield config, state, reals, costs


def require_resumable(folder: Path, data: Path | None = None) -> None:
    """Raise what `resume_run` would where the data, their place or another process is in the way."""
    run = open_run(folder, data)
    if is_held(folder / LOCK):
        raise ToolError(folder, "another run is at work here; wait for it")
    open_data(run.config, run.data).close()


def resume_run(
    folder: Path,
    device: torch.device,
    world: World,
    *,
    data: Path | None = None,
    changes: Iterable[str] = (),
    minibatch_gpu: int | None = None,
) -> None:
    """Continue a run from its newest state.

    On as many processes as before the passes are those of before, which gives equal bits; on another number
    they are chosen anew.

    Args:
        folder: `OUTDIR/NNNNN-NAME`.
        device: Of this process.
        world: The processes.
        data: Where the data lie now, if they were moved.
        changes: `section.field=value`, which are kept in the run; see `changes.change_run`.
        minibatch_gpu: The most images of a pass from now on.

    Raises:
        ToolError: Not a run, or another process is at work in it, or its states are gone.
        ConfigError: A change would alter what lies behind the run.
    """
    run = open_run(folder, data)
    with locked(folder, world):
        state, damaged = newest_state(run, device)
        config = change_run(run.config, changes, 0 if state is None else state.nimg)
        higher = config.schedule.resolution > run.config.schedule.resolution
        if state is not None and higher:
            state = grown(state, config, device)
        prepare_backends(config.runtime)
        costs = step_costs(config)
        with open_data(config, run.data) as reals:
            if state is None:
                state = first_state(config, reals, device, world, init_of(folder))
            keep = processes_before(folder) in (None, world.size)
            config = fit_passes(config, world, device, costs, minibatch_gpu=minibatch_gpu, keep=keep)
            changed = dataclasses.replace(run, config=config)
            world.wait()  # every process has read the configuration that is now replaced
            if world.is_main:
                set_aside(damaged)
                if higher or config.snapshot.metric_images != run.config.snapshot.metric_images:
                    forget_reals(folder)
                require_room(config, state, folder)
                facts = {"processes": world.size, "device": str(device)}
                keep_config(changed, "resumed", state.nimg, run.config, **facts)
                log.info(
                    f"{folder}: continues at {state.nimg / 1000:.1f} of {config.train.total_kimg:g} kimg"
                    + (f", and grows on to {config.schedule.resolution} px" if higher else "")
                )
            _train(changed, state, reals, costs, device, world)


@contextmanager
def locked(folder: Path, world: World) -> Iterator[None]:
    """Keep every other run out of the folder; however this one ends, its page then says that it has.

    Raises:
        ToolError: Another process is at work there.
    """
    if not world.is_main:
        yield
        return
    with ExitStack() as afterwards, owning(folder / LOCK):
        afterwards.callback(write_run_page, folder)  # not of a folder that is another's
        yield


def first_state(
    config: TrainingConfig, reals: TrainingData, device: torch.device, world: World, init: Path | None
) -> TrainingState:
    """Untrained networks, or those of another run."""
    state = new_state(config, device)
    trained = None if init is None else load_trained(init)
    if trained is not None:
        begin_with(state, trained, config)
        if trained.discriminator is None and world.is_main:
            log.warning(
                f"{init}: a snapshot, which holds no discriminator; D begins untrained, and G forgets much "
                "meanwhile; a state with its run's config.json holds both"
            )
    if trained is None or trained.discriminator is None:
        initialize_from_reals(config, state, reals, device)
    return state


def init_of(folder: Path) -> Path | None:
    """What a run began with; None for untrained networks."""
    named = [Path(record["init"]) for record in history(folder) if "init" in record]
    return named[0] if named else None


def processes_before(folder: Path) -> int | None:
    """How many processes the run was on; None where nobody has noted it."""
    numbers = [int(record["processes"]) for record in history(folder) if "processes" in record]
    return numbers[-1] if numbers else None


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
        training_loop(run, state, reals, maintenance, device, world)
    if world.is_main:
        log.info(
            f"{run.folder}: finished at {state.nimg / 1000:.1f} kimg, {state.skipped_steps} steps skipped"
        )


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


def describe(run: Run, images: int, world: World) -> str:
    """What a run is about to do, in one line."""
    config = run.config
    passes = ", ".join(f"{r}: {chunk}" for r, chunk in config.runtime.minibatch_gpu.items())
    return (
        f"{run.folder}: {config.train.total_kimg:g} kimg up to {config.schedule.resolution}x"
        f"{config.schedule.resolution} from {images:,} images, {config.runtime.precision}, {world.size} "
        f"process(es), images per pass {{{passes}}}"
    )
