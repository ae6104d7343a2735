"""The `trainer` command: one function per command, each one library call."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from celebahq.console import (
    ANY_PATH,
    EXIT_INTERRUPTED,
    FILE,
    FOLDER,
    NEW_PATH,
    ToolGroup,
    device_option,
    emit_json,
    json_option,
    resolve_device,
    seed_option,
    status,
)

if TYPE_CHECKING:
    from trainer.config import TrainingConfig

POSITIVE = click.FloatRange(0, min_open=True)

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


@click.group(cls=ToolGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="celebahq-toolkit")
def main() -> None:
    """Train progressive GANs, continue them, and use what was trained."""


@main.command()
@click.option("--data", type=FILE, metavar="FILE.h5", help="The real images, an HDF5 pyramid.")
@click.option("--preset", "preset_name", required=True, metavar="NAME", help="See `trainer presets`.")
@click.option("--outdir", type=NEW_PATH, default="runs", show_default=True, metavar="DIR")
@set_option
@click.option("--seed", type=click.IntRange(min=0), help="Key of all randomness  [default: the preset's, 0].")
@device_option
@minibatch_gpu_option
@on_nan_option
@click.option("--deterministic", is_flag=True, help="Only GPU kernels that give the same bits every time.")
@click.option(
    "-n", "--dry-run", is_flag=True, help="Print the configuration (JSON) and the schedule, then end."
)
def run(
    data: Path | None,
    preset_name: str,
    outdir: Path,
    assignments: tuple[str, ...],
    seed: int | None,
    device: str,
    minibatch_gpu: int | None,
    on_nan: str | None,
    deterministic: bool,
    dry_run: bool,
) -> None:
    """Train a progressive GAN into a new folder OUTDIR/00000-NAME.

    \b
    trainer run --data faces.h5 --preset faces-64 --outdir runs
    torchrun --nproc-per-node 8 -m trainer run --data celebahq.h5 --preset celebahq-1024
    """
    from trainer.distributed import launched_world_size
    from trainer.report import schedule_table
    from trainer.settings import to_dict

    changes = list(assignments)
    changes += [] if seed is None else [f"train.seed={seed}"]
    changes += [] if on_nan is None else [f"train.on_nan={on_nan}"]
    changes += ["runtime.deterministic=true"] if deterministic else []
    config = _configure(preset_name, launched_world_size(), changes)
    if dry_run:
        emit_json(to_dict(config))
        status(schedule_table(config))
        return
    if data is None:
        raise click.UsageError("Missing option '--data': the HDF5 pyramid to train on.")

    from trainer.session import start_run

    with _processes(device) as (torch_device, world):
        start_run(config, data, outdir, torch_device, world, minibatch_gpu)


@main.command()
@click.argument("run", type=FOLDER)
@click.option("--data", type=FILE, metavar="FILE.h5", help="Where the data lie now, if they were moved.")
@device_option
@on_nan_option
def resume(run: Path, data: Path | None, device: str, on_nan: Literal["stop", "skip"] | None) -> None:
    """Continue a run that was interrupted or killed.

    It ends as it would have ended without the interruption: bit for bit on the same CPU.

    \b
    trainer resume runs/00000-faces-64
    """
    from trainer.session import resume_run

    with _processes(device) as (torch_device, world):
        resume_run(run, torch_device, world, data=data, on_nan=on_nan)


@main.command()
@click.argument("snapshot", type=ANY_PATH)
@click.option("--num", type=click.IntRange(min=1), required=True, metavar="N", help="How many images.")
@click.option("--out", type=NEW_PATH, required=True, metavar="DIR|FILE.h5|FILE.zip")
@seed_option
@device_option
def generate(snapshot: Path, num: int, out: Path, seed: int, device: str) -> None:
    """Generate images into a folder or zip file of PNGs, or an HDF5 pyramid.

    SNAPSHOT is a file, or a run folder for its newest. Image number i of a seed is the same however many
    are asked for.

    \b
    trainer generate runs/00000-faces-64 --num 50000 --out fakes.h5 --seed 1
    """
    from trainer.generate import generate_to
    from trainer.snapshot import load_snapshot

    generate_to(load_snapshot(snapshot, resolve_device(device)), out, num=num, seed=seed)


@main.command()
@click.argument("snapshot", type=ANY_PATH)
@click.option("--out", type=NEW_PATH, required=True, metavar="FILE.png")
@click.option("--columns", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--rows", type=click.IntRange(min=1), default=4, show_default=True)
@seed_option
@device_option
def grid(snapshot: Path, out: Path, columns: int, rows: int, seed: int, device: str) -> None:
    """Draw a grid of generated images.

    \b
    trainer grid runs/00000-faces-64 --out grid.png --seed 1
    """
    from celebahq.files import refuse_existing
    from trainer.grids import image_grid, save_png
    from trainer.snapshot import load_snapshot

    refuse_existing(out)
    images = load_snapshot(snapshot, resolve_device(device)).generate(seed, range(columns * rows))
    save_png(out, image_grid(images, columns))


@main.command()
@click.argument("snapshot", type=ANY_PATH, required=False)
@click.option("--progress", "run", type=FOLDER, metavar="RUN", help="Instead, the progress of a run.")
@click.option("--out", type=NEW_PATH, required=True, metavar="FILE.mp4")
@click.option("--columns", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--rows", type=click.IntRange(min=1), default=3, show_default=True)
@click.option(
    "--size", type=click.IntRange(min=4), metavar="PX", help="Side of an image  [default: its own]."
)
@click.option("--duration", type=POSITIVE, default=60.0, metavar="SEC", show_default=True)
@click.option("--fps", type=POSITIVE, default=30.0, show_default=True)
@click.option(
    "--smoothing",
    type=POSITIVE,
    default=1.0,
    metavar="SEC",
    show_default=True,
    help="Standard deviation of the walk's Gaussian; not for --progress.",
)
@seed_option
@device_option
def video(
    snapshot: Path | None,
    run: Path | None,
    out: Path,
    columns: int,
    rows: int,
    size: int | None,
    duration: float,
    fps: float,
    smoothing: float,
    seed: int,
    device: str,
) -> None:
    """Make a video: a walk through latent space, or how a run learned.

    \b
    trainer video runs/00000-faces-64 --out walk.mp4
    trainer video --progress runs/00000-faces-64 --out progress.mp4 --duration 10
    """
    from celebahq.files import refuse_existing
    from trainer.video import VideoLayout, write_interpolation, write_progress

    if (snapshot is None) == (run is None):
        raise click.UsageError("Give either SNAPSHOT or --progress RUN.")
    refuse_existing(out)
    layout = VideoLayout(columns, rows, size, duration, fps)
    torch_device = resolve_device(device)
    if run is not None:
        write_progress(run, out, layout, seed=seed, device=torch_device)
    elif snapshot is not None:
        write_interpolation(snapshot, out, layout, seed=seed, smoothing_sec=smoothing, device=torch_device)


@main.command()
@click.argument("run", type=FOLDER)
@click.option("--data", type=FILE, metavar="FILE.h5", help="Where the data lie now, if they were moved.")
@click.option(
    "--images", type=click.IntRange(min=1), metavar="N", help="Per set  [default: all, up to 16,384]."
)
@click.option("--resolution", type=int, metavar="PX", help="To compare at  [default: the full one].")
@click.option(
    "--metrics",
    type=click.Choice(["swd", "msssim", "swd,msssim"]),
    default="swd,msssim",
    show_default=True,
)
@click.option("--plot", type=NEW_PATH, metavar="FILE.png", help="Draw the paper's figure 4.")
@seed_option
@device_option
@json_option
def evaluate(
    run: Path,
    data: Path | None,
    images: int | None,
    resolution: int | None,
    metrics: str,
    plot: Path | None,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Measure every snapshot of a run against its data: sliced Wasserstein distance and MS-SSIM.

    The report is also kept as RUN/evaluation.json.

    \b
    trainer evaluate runs/00000-faces-64 --images 2000 --plot progress.png
    """
    from celebahq.files import write_json
    from swd.plot import plot_track
    from swd.report import as_json as report_as_json
    from swd.report import as_table
    from trainer.evaluate import evaluate_run
    from trainer.runs import open_run

    report = evaluate_run(
        run,
        open_run(run, data).data,
        resolve_device(device),
        images=images,
        resolution=resolution,
        seed=seed,
        metrics=metrics.split(","),
    )
    write_json(run / "evaluation.json", report_as_json(report))
    if plot is not None:
        plot_track(report, plot)
    if as_json:
        emit_json(report_as_json(report))
    else:
        click.echo(as_table(report))


@main.command()
@click.argument("snapshot", type=ANY_PATH)
@click.option("--out", type=NEW_PATH, required=True, metavar="FILE.safetensors|FILE.pt")
def export(snapshot: Path, out: Path) -> None:
    """Export the averaged generator for other programs.

    By the ending: the weights alone (.safetensors), or TorchScript (.pt), which maps latents
    [N, latent_size] to images at the snapshot's resolution, -1 to 1.

    \b
    trainer export runs/00000-faces-64 --out generator.pt
    """
    from trainer.export import export_generator
    from trainer.snapshot import load_snapshot

    export_generator(load_snapshot(snapshot), out)


@main.command()
@click.argument("snapshot", type=ANY_PATH)
@click.option("--classifier", type=FILE, required=True, metavar="FILE", help="Reads the digits.")
@click.option("--samples", type=click.IntRange(min=1), default=25_600, show_default=True, metavar="N")
@click.option("--repeats", type=click.IntRange(min=1), default=10, show_default=True, metavar="N")
@seed_option
@device_option
@json_option
def modes(
    snapshot: Path, classifier: Path, samples: int, repeats: int, seed: int, device: str, as_json: bool
) -> None:
    """Count how many of the 1,000 modes of MNIST-RGB a generator hits.

    The classifier comes from tools/train_mnist_classifier.py.

    \b
    trainer modes runs/00000-mnist-rgb-1k --classifier digits.safetensors
    """
    from dataclasses import asdict

    from trainer.modes import load_classifier, score_modes
    from trainer.snapshot import load_snapshot

    torch_device = resolve_device(device)
    score = score_modes(
        load_snapshot(snapshot, torch_device),
        load_classifier(classifier, torch_device),
        seed=seed,
        samples=samples,
        repeats=repeats,
    )
    if as_json:
        emit_json(asdict(score))
    else:
        click.echo(f"modes  {score.modes:.1f} +- {score.modes_std:.1f} of 1000")
        click.echo(f"KL     {score.kl:.3f} +- {score.kl_std:.3f} nats from uniform")


@main.command("import")
@click.argument("pickle", type=FILE)
@click.option("-o", "--out", type=NEW_PATH, required=True, metavar="FILE.safetensors")
def import_(pickle: Path, out: Path) -> None:
    """Turn a network pickle of the authors' TensorFlow program into a snapshot.

    TensorFlow is not needed, and nothing in the file is executed.

    \b
    trainer import karras2018iclr-celebahq-1024x1024.pkl -o celebahq.safetensors
    """
    from celebahq.files import refuse_existing
    from trainer.legacy_import import import_snapshot
    from trainer.snapshot import save_snapshot

    refuse_existing(out)
    snapshot = import_snapshot(pickle)
    save_snapshot(out, snapshot)
    status(
        f"{out}: generator for {snapshot.config.generator.resolution}x{snapshot.config.generator.resolution}"
    )


@main.command()
@json_option
def presets(as_json: bool) -> None:
    """List the published configurations.

    \b
    trainer presets --json
    """
    from dataclasses import asdict

    from trainer.presets import preset_summaries

    summaries = preset_summaries()
    if as_json:
        emit_json([asdict(summary) for summary in summaries])
        return
    for summary in summaries:
        click.echo(f"{summary.name:18s} {summary.description}")
        if summary.variants:
            click.echo(f"{'':18s} variants: {', '.join('+' + name for name in summary.variants)}")


@main.command()
@click.option("--preset", "preset_name", required=True, metavar="NAME", help="See `trainer presets`.")
@click.option("--data", type=FILE, metavar="FILE.h5", help="Read these images.")
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
    trainer bench --preset celebahq-1024 --synthetic --set runtime.precision=bf16
    """
    from dataclasses import asdict

    from trainer.bench import bench as measure
    from trainer.report import bench_table

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


def _configure(preset_name: str, world_size: int, assignments: Iterable[str]) -> "TrainingConfig":
    """The preset with its changes; a mistake in either is wrong usage."""
    from trainer.config import ConfigError
    from trainer.presets import preset
    from trainer.settings import override

    try:
        return override(preset(preset_name, world_size), assignments)
    except ConfigError as err:
        raise click.UsageError(str(err)) from err


@contextmanager
def _processes(device: str) -> Iterator[tuple[Any, Any]]:
    """This process's device, and the processes that torchrun started; Ctrl-C ends with status 130."""
    from trainer.distributed import device_of_rank, join_world

    torch_device = resolve_device(device_of_rank(device))
    try:
        with join_world(torch_device) as world:
            yield torch_device, world
    except KeyboardInterrupt as err:
        status(f"interrupted: {err or 'stopped at once'}; `trainer resume RUN` continues")
        sys.exit(EXIT_INTERRUPTED)
