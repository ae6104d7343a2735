"""The commands that train: run, resume, presets, bench."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from celebahq.arguments import (
    ANY_PATH,
    DATA_SET,
    FILE,
    FOLDER,
    NEW_FOLDER,
    device_option,
    dry_run_option,
    json_option,
)
from celebahq.console import EXIT_INTERRUPTED, emit_json, resolve_device, status

if TYPE_CHECKING:
    from trainer.configuration.config import TrainingConfig

on_nan_option = click.option(
    "--on-nan",
    type=click.Choice(["stop", "skip"]),
    help="What to do about a step whose loss or gradients are not finite  [default: the preset's, stop].",
)
minibatch_gpu_option = click.option(
    "--minibatch-gpu",
    type=click.IntRange(min=1),
    metavar="N",
    help="The most images of one pass; several make a minibatch  [default: what fits in memory].",
)
set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="A.B=C",
    help="Change a field of the preset, as in train.total_kimg=100 or resolution=64; repeatable.",
)
change_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="A.B=C",
    help="Change what is still to come, as in train.total_kimg=100 or snapshot.image_ticks=5; repeatable.",
)


@click.command()
@click.option("--data", type=DATA_SET, metavar="FILE.h5", help="The real images, an HDF5 pyramid.")
@click.option("--preset", "preset_name", metavar="NAME", help="See `trainer presets`.")
@click.option("--config", "file", type=FILE, metavar="FILE.toml", help="Instead, a file like a preset's.")
@click.option("--outdir", type=NEW_FOLDER, default="runs", show_default=True, metavar="DIR")
@set_option
@click.option("--seed", type=click.IntRange(min=0), help="Key of all randomness  [default: the preset's, 0].")
@device_option
@minibatch_gpu_option
@on_nan_option
@click.option("--deterministic", is_flag=True, help="Only GPU kernels that give the same bits every time.")
@click.option(
    "--init",
    type=ANY_PATH,
    metavar="RUN|FILE",
    help="Begin with the networks of a run, one of its states, a snapshot, or the authors' pickle.",
)
@click.option("--resume", "go_on", is_flag=True, help="Continue the newest such run in OUTDIR, if any.")
@dry_run_option
def run(
    data: Path | None,
    preset_name: str | None,
    file: Path | None,
    outdir: Path,
    assignments: tuple[str, ...],
    seed: int | None,
    device: str,
    minibatch_gpu: int | None,
    on_nan: str | None,
    deterministic: bool,
    init: Path | None,
    go_on: bool,
    dry_run: bool,
) -> None:
    """Train a progressive GAN into a new folder OUTDIR/00000-NAME.

    FILE.toml holds what differs from the preset that it extends: extends = "faces-64", [train],
    total_kimg = 600, and so on.

    With --resume, the same command begins the run and continues it until it is finished, as a batch system's
    jobs want it. Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 save the state and end with status 128 plus the signal's
    number.

    \b
    Examples:
      trainer run --data faces.h5 --preset faces-64 --outdir runs
      torchrun --nproc-per-node 8 -m trainer run --data celebahq.h5 --preset celebahq-1024
      trainer run --data cats.h5 --preset faces-64 --init runs/00000-faces-64
      trainer run --data faces.h5 --config portraits.toml
    """
    from celebahq.processes import launched_world_size
    from trainer.commands.tables import schedule_table
    from trainer.configuration.settings import to_dict

    changes = with_options(
        assignments,
        {"train.seed": seed, "train.on_nan": on_nan, "runtime.deterministic": deterministic or None},
    )
    if (preset_name is None) == (file is None):
        raise click.UsageError("Give either --preset NAME or --config FILE.toml.")
    config = _configure(file or preset_name or "", launched_world_size(), changes)
    if config.runtime.minibatch_gpu:
        raise click.UsageError("runtime.minibatch_gpu is chosen by the run; --minibatch-gpu N limits it")
    if init is not None and not any(change.startswith("schedule.initial_resolution") for change in changes):
        config = _begin_grown(config, init)
    if data is None and not dry_run:
        raise click.UsageError("Missing option '--data': the HDF5 pyramid to train on.")
    if data is not None or go_on:
        _train(config, data, outdir, device, minibatch_gpu, init, go_on=go_on, dry_run=dry_run)
    if dry_run:
        emit_json(to_dict(config))
        for line in schedule_table(config).splitlines():
            status(line)


def _train(
    config: "TrainingConfig",
    data: Path | None,
    outdir: Path,
    device: str,
    minibatch_gpu: int | None,
    init: Path | None,
    *,
    go_on: bool,
    dry_run: bool,
) -> None:
    """Begin or continue a run; a dry run does all that comes before anything is written."""
    from trainer.storage.runs import newest_run
    from trainer.training.changes import require_unchanged
    from trainer.training.session import prepared, require_resumable, resume_run, start_run

    with _processes(device) as (torch_device, world):
        newest = world.same(str(newest_run(outdir, config.name) or "")) if go_on else ""
        if newest:
            require_unchanged(Path(newest), config)
            if dry_run:
                require_resumable(Path(newest), data)
            else:
                resume_run(Path(newest), torch_device, world, data=data, minibatch_gpu=minibatch_gpu)
        elif data is not None and dry_run:
            with prepared(config, data, outdir, torch_device, world, minibatch_gpu, init):
                pass
        elif data is not None:
            start_run(config, data, outdir, torch_device, world, minibatch_gpu, init)


@click.command()
@click.argument("run", type=FOLDER)
@click.option("--data", type=DATA_SET, metavar="FILE.h5", help="Where the data lie now, if they were moved.")
@change_option
@minibatch_gpu_option
@device_option
@on_nan_option
def resume(
    run: Path,
    data: Path | None,
    changes: tuple[str, ...],
    minibatch_gpu: int | None,
    device: str,
    on_nan: Literal["stop", "skip"] | None,
) -> None:
    """Continue a run that was interrupted or killed, make a finished one longer, or grow it on.

    It ends as it would have ended without the interruption: bit for bit on the same CPU. What changes is kept
    in RUN/config.json and RUN/history.jsonl; what would change the past is refused. The number of processes
    may be another one than before.

    \b
    Examples:
      trainer resume runs/00000-faces-64
      trainer resume runs/00000-faces-64 --set train.total_kimg=600 --minibatch-gpu 8
    """
    from trainer.configuration.config import ConfigError
    from trainer.training.session import resume_run

    assignments = with_options(changes, {"train.on_nan": on_nan})
    with _processes(device) as (torch_device, world):
        try:
            resume_run(run, torch_device, world, data=data, changes=assignments, minibatch_gpu=minibatch_gpu)
        except ConfigError as err:
            raise click.UsageError(str(err)) from err


@click.command()
@json_option
def presets(as_json: bool) -> None:
    """List the published configurations.

    \b
    Example:
      trainer presets --json
    """
    from dataclasses import asdict

    from trainer.configuration.presets import preset_summaries

    summaries = preset_summaries()
    if as_json:
        emit_json([asdict(summary) for summary in summaries])
        return
    for summary in summaries:
        click.echo(f"{summary.name:18s} {summary.description}")
        if summary.variants:
            click.echo(f"{'':18s} variants: {', '.join('+' + name for name in summary.variants)}")


@click.command()
@click.option("--preset", "preset_name", required=True, metavar="NAME", help="See `trainer presets`.")
@click.option("--data", type=DATA_SET, metavar="FILE.h5", help="Read these images.")
@click.option("--synthetic", is_flag=True, help="Instead of --data: no images are read.")
@set_option
@click.option("--resolution", "resolutions", type=int, multiple=True, help="Only this one; repeatable.")
@click.option("--steps", type=click.IntRange(min=1), default=5, show_default=True, help="Timed ones.")
@minibatch_gpu_option
@device_option
@json_option
def bench(
    preset_name: str,
    data: Path | None,
    synthetic: bool,
    assignments: tuple[str, ...],
    resolutions: tuple[int, ...],
    steps: int,
    minibatch_gpu: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure training speed and memory at each resolution, and where the time goes.

    \b
    Example:
      trainer bench --preset celebahq-1024 --synthetic --set runtime.precision=bf16
    """
    from dataclasses import asdict

    from trainer.commands.tables import bench_table
    from trainer.training.bench import bench as measure

    if synthetic == (data is not None):
        raise click.UsageError("Give either --data FILE.h5 or --synthetic.")
    config = _configure(preset_name, 1, assignments)
    rows = measure(
        config,
        data,
        resolve_device(device),
        resolutions=list(resolutions) or None,
        steps=steps,
        minibatch_gpu=minibatch_gpu,
    )
    if as_json:
        emit_json([asdict(row) for row in rows])
    else:
        click.echo(bench_table(rows))


def with_options(assignments: Iterable[str], options: dict[str, object]) -> list[str]:
    """The assignments of `--set`, and those that other options stand for; None for one that was not given."""
    changes = list(assignments)
    for name, value in options.items():
        if value is None:
            continue
        if any(change.partition("=")[0].strip() == name for change in assignments):
            option = name.rpartition(".")[2].replace("_", "-")
            raise click.UsageError(f"Give either --{option} or --set {name}=...")
        changes.append(f"{name}={str(value).lower()}")
    return changes


def _configure(source: Path | str, world_size: int, assignments: Iterable[str]) -> "TrainingConfig":
    """A file or a preset with its changes; a mistake in either is wrong usage."""
    from trainer.configuration.config import ConfigError
    from trainer.configuration.presets import config_from_file, preset
    from trainer.configuration.settings import override
    from trainer.training.batches import require_shareable

    try:
        if isinstance(source, Path):
            plain = config_from_file(source, world_size)
        else:
            plain = preset(source, world_size)
        config = override(plain, assignments)
    except ConfigError as err:
        raise click.UsageError(str(err)) from err
    require_shareable(config, world_size)
    return config


def _begin_grown(config: "TrainingConfig", init: Path) -> "TrainingConfig":
    """The run begins at the resolution that its first networks have grown to."""
    from trainer.configuration.settings import override
    from trainer.training.starting_point import load_trained

    resolution = min(load_trained(init).resolution, config.schedule.resolution)
    status(f"{init}: the run begins at {resolution}x{resolution}")
    return override(config, [f"schedule.initial_resolution={resolution}"])


@contextmanager
def _processes(device: str) -> Iterator[tuple[Any, Any]]:
    """This process's device, and the processes that torchrun started; a signal ends with 128 + its number."""
    from celebahq.processes import join_world
    from trainer.training.interrupt import Interrupted

    torch_device = resolve_device(device)
    try:
        with join_world(torch_device) as world:
            yield torch_device, world
    except KeyboardInterrupt as err:
        status(f"interrupted: {err or 'stopped at once'}; `trainer resume RUN` continues")
        sys.exit(128 + err.number if isinstance(err, Interrupted) else EXIT_INTERRUPTED)
