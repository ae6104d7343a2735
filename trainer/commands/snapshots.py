"""The commands on what was trained: generate, grid, video, evaluate, modes, export, import."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from celebahq.arguments import (
    ANY_PATH,
    DATA_SET,
    FILE,
    FOLDER,
    NEW_IMAGES,
    NEW_MP4,
    NEW_NETWORK,
    NEW_PNG,
    NEW_SAFETENSORS,
    device_option,
    json_option,
    overwrite_option,
    seed_option,
)
from celebahq.console import emit_json, resolve_device, status
from trainer.use.options import GridLayout, ModeCount, VideoLayout

if TYPE_CHECKING:
    from celebahq.terminal import Stages

GRID, VIDEO, COUNT = GridLayout(), VideoLayout(), ModeCount()
POSITIVE = click.FloatRange(0, min_open=True)


def parse_seeds(context: click.Context, option: click.Parameter, value: str | None) -> list[int] | None:
    """Different numbers with commas between them."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and len(part) < 20 for part in parts):
        raise click.BadParameter(f"'{value}' is not a list of seeds like 1,7,42")
    seeds = [int(part) for part in parts]
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise click.BadParameter(f"{seed} is there twice")
    return seeds


def refuse_beside(other: str, *names: str) -> None:
    """Raise `UsageError` where one of these parameters was given, which have no say beside `other`."""
    ctx = click.get_current_context()
    for name in names:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} has no say beside {other}; leave one out")


@click.command()
@click.argument("snapshot", type=ANY_PATH)
@click.option("--num", type=click.IntRange(min=1), metavar="N", help="How many images of --seed.")
@click.option(
    "--seeds", callback=parse_seeds, metavar="N,N,...", help="Instead, the first image of each of these."
)
@click.option("--class", "only", type=click.IntRange(min=0), metavar="N", help="Of networks with labels.")
@click.option("--out", "-o", type=NEW_IMAGES, required=True, metavar="DIR|FILE.h5|FILE.zip")
@overwrite_option
@seed_option
@device_option
@click.pass_obj
def generate(
    stages: "Stages",
    snapshot: Path,
    num: int | None,
    seeds: list[int] | None,
    only: int | None,
    out: Path,
    overwrite: bool,
    seed: int,
    device: str,
) -> None:
    """Generate images into a folder or zip file of PNGs, or an HDF5 pyramid.

    SNAPSHOT is a file, or a run folder for its newest. Image number i of a seed is the same however many
    are asked for.

    \b
    Examples:
      trainer generate runs/00000-faces-64 --num 50000 --out fakes.h5 --seed 1
      trainer generate runs/00000-digits --seeds 1,7,42 --class 3 --out threes/
    """
    from trainer.use.generate import generate_seeds_to, generate_to
    from trainer.use.snapshot import open_snapshot

    if (num is None) == (seeds is None):
        raise click.UsageError("Give either --num or --seeds.")
    if seeds is not None:
        refuse_beside("--seeds", "seed")
    loaded = open_snapshot(snapshot, resolve_device(device))
    loaded = loaded if only is None else loaded.of_class(only)
    if seeds is not None:
        generate_seeds_to(loaded, out, seeds, overwrite=overwrite, progress=stages)
        status(f"{out}: {len(seeds):,} images")
    elif num is not None:
        generate_to(loaded, out, num=num, seed=seed, overwrite=overwrite, progress=stages)
        status(f"{out}: {num:,} images")


@click.command()
@click.argument("snapshot", type=ANY_PATH)
@click.option("--out", "-o", type=NEW_PNG, required=True, metavar="FILE.png")
@click.option("--columns", type=click.IntRange(min=1), default=GRID.columns, show_default=True)
@click.option("--rows", type=click.IntRange(min=1), default=GRID.rows, show_default=True)
@overwrite_option
@seed_option
@device_option
def grid(snapshot: Path, out: Path, columns: int, rows: int, overwrite: bool, seed: int, device: str) -> None:
    """Draw a grid of generated images.

    \b
    Example:
      trainer grid runs/00000-faces-64 --out grid.png --seed 1
    """
    from celebahq.files import refuse_existing
    from celebahq.pictures.encoding import save_png
    from celebahq.pictures.grids import image_grid
    from trainer.use.snapshot import open_snapshot

    refuse_existing(out, overwrite=overwrite)
    images = open_snapshot(snapshot, resolve_device(device)).generate(seed, range(columns * rows))
    save_png(out, image_grid(images.numpy(), columns))
    status(f"{out}: {columns}x{rows} images")


@click.command()
@click.argument("snapshot", type=ANY_PATH, required=False)
@click.option("--progress", "run", type=FOLDER, metavar="RUN", help="Instead, the progress of a run.")
@click.option("--out", "-o", type=NEW_MP4, required=True, metavar="FILE.mp4")
@click.option("--columns", type=click.IntRange(min=1), default=VIDEO.columns, show_default=True)
@click.option("--rows", type=click.IntRange(min=1), default=VIDEO.rows, show_default=True)
@click.option(
    "--size",
    type=click.IntRange(min=4),
    metavar="PX",
    help="Side of an image, a multiple of its own  [default: its own].",
)
@click.option("--duration", type=POSITIVE, default=VIDEO.duration_sec, metavar="SEC", show_default=True)
@click.option("--fps", type=POSITIVE, default=VIDEO.fps, show_default=True)
@click.option(
    "--smoothing",
    type=POSITIVE,
    default=VIDEO.smoothing_sec,
    metavar="SEC",
    show_default=True,
    help="Standard deviation of the walk's Gaussian; not for --progress.",
)
@overwrite_option
@seed_option
@device_option
@click.pass_obj
def video(
    stages: "Stages",
    snapshot: Path | None,
    run: Path | None,
    out: Path,
    columns: int,
    rows: int,
    size: int | None,
    duration: float,
    fps: float,
    smoothing: float,
    overwrite: bool,
    seed: int,
    device: str,
) -> None:
    """Make a video: a walk through latent space, or how a run learned.

    \b
    Examples:
      trainer video runs/00000-faces-64 --out walk.mp4
      trainer video --progress runs/00000-faces-64 --out progress.mp4 --duration 10
    """
    from celebahq.files import refuse_existing
    from trainer.use.video import write_interpolation, write_progress

    if (snapshot is None) == (run is None):
        raise click.UsageError("Give either SNAPSHOT or --progress RUN.")
    if run is not None:
        refuse_beside("--progress", "smoothing")
    refuse_existing(out, overwrite=overwrite)
    layout = VideoLayout(columns, rows, size, duration, fps, smoothing)
    torch_device = resolve_device(device)
    if run is not None:
        seconds = write_progress(run, out, layout, seed=seed, device=torch_device, progress=stages)
    elif snapshot is not None:
        seconds = write_interpolation(
            snapshot,
            out,
            layout,
            seed=seed,
            device=torch_device,
            progress=stages,
        )
    status(f"{out}: {seconds:g} seconds")


@click.command()
@click.argument("run", type=FOLDER)
@click.option("--data", type=DATA_SET, metavar="FILE.h5", help="Where the data lie now, if they were moved.")
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
@click.option("--plot", type=NEW_PNG, metavar="FILE.png", help="Draw the paper's figure 4.")
@overwrite_option
@seed_option
@device_option
@json_option
@click.pass_obj
def evaluate(
    stages: "Stages",
    run: Path,
    data: Path | None,
    images: int | None,
    resolution: int | None,
    metrics: str,
    plot: Path | None,
    overwrite: bool,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Measure every snapshot of a run against its data: sliced Wasserstein distance and MS-SSIM.

    The report is also kept as RUN/evaluation.json.

    \b
    Example:
      trainer evaluate runs/00000-faces-64 --images 2000 --plot progress.png
    """
    from celebahq.files import refuse_existing, write_json
    from swd.plot import plot_track
    from swd.report import as_json as report_as_json
    from swd.report import as_table
    from trainer.storage.runs import open_run
    from trainer.use.evaluate import evaluate as evaluate_snapshots
    from trainer.use.run_page import EVALUATION, write_run_page
    from trainer.use.snapshot import all_snapshots

    if plot is not None:
        if "swd" not in metrics:
            raise click.UsageError("--plot draws distances: add swd to --metrics")
        refuse_existing(plot, overwrite=overwrite)
    report = evaluate_snapshots(
        all_snapshots(run),
        open_run(run, data).data,
        resolve_device(device),
        images=images,
        resolution=resolution,
        seed=seed,
        metrics=metrics.split(","),
        progress=stages,
    )
    write_json(run / EVALUATION, report_as_json(report))
    write_run_page(run)
    if plot is not None:
        plot_track(report, plot)
        status(f"{plot}: distances of {len(report.fakes)} snapshots")
    if as_json:
        emit_json(report_as_json(report))
    else:
        click.echo(as_table(report))


@click.command()
@click.argument("snapshot", type=ANY_PATH)
@click.option("--classifier", type=FILE, required=True, metavar="FILE", help="Reads the digits.")
@click.option("--samples", type=click.IntRange(min=1), default=COUNT.samples, show_default=True, metavar="N")
@click.option("--repeats", type=click.IntRange(min=1), default=COUNT.repeats, show_default=True, metavar="N")
@seed_option
@device_option
@json_option
@click.pass_obj
def modes(
    stages: "Stages",
    snapshot: Path,
    classifier: Path,
    samples: int,
    repeats: int,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Count how many of the 1,000 modes of MNIST-RGB a generator hits.

    The classifier comes from tools/train_mnist_classifier.py.

    \b
    Example:
      trainer modes runs/00000-mnist-rgb-1k --classifier digits.safetensors
    """
    from dataclasses import asdict

    from trainer.use.modes import load_classifier, score_modes
    from trainer.use.snapshot import open_snapshot

    torch_device = resolve_device(device)
    score = score_modes(
        open_snapshot(snapshot, torch_device),
        load_classifier(classifier, torch_device),
        seed=seed,
        count=ModeCount(samples, repeats),
        progress=stages,
    )
    if as_json:
        emit_json(asdict(score))
    else:
        click.echo(f"modes  {score.modes:.1f} +- {score.modes_std:.1f} of 1000")
        click.echo(f"KL     {score.kl:.3f} +- {score.kl_std:.3f} nats from uniform")


@click.command()
@click.argument("snapshot", type=ANY_PATH)
@click.option("--out", "-o", type=NEW_NETWORK, required=True, metavar="FILE.safetensors|FILE.pt2|FILE.onnx")
@overwrite_option
def export(snapshot: Path, out: Path, overwrite: bool) -> None:
    """Export the averaged generator for other programs.

    By the ending: the weights alone (.safetensors), a program of torch.export (.pt2), or an ONNX model
    (.onnx, needs the extra `onnx`). The last two map latents [N, latent_size], and labels [N, label_size]
    if the network has them, to images [N, C, r, r] at the snapshot's resolution, -1 to 1.

    \b
    Example:
      trainer export runs/00000-faces-64 --out generator.onnx
    """
    from celebahq.files import refuse_input
    from trainer.use.export import export_generator
    from trainer.use.snapshot import find_snapshot, load_snapshot

    refuse_input(out, [find_snapshot(snapshot)])
    loaded = load_snapshot(snapshot)
    export_generator(loaded, out, overwrite=overwrite)
    status(f"{out}: generator for {loaded.resolution}x{loaded.resolution}")


@click.command("import")
@click.argument("pickle", type=FILE)
@click.option("--out", "-o", type=NEW_SAFETENSORS, required=True, metavar="FILE.safetensors")
@overwrite_option
def import_(pickle: Path, out: Path, overwrite: bool) -> None:
    """Turn a network pickle of the authors' TensorFlow program into a snapshot.

    TensorFlow is not needed, and nothing in the file is executed.

    \b
    Example:
      trainer import karras2018iclr-celebahq-1024x1024.pkl -o celebahq.safetensors
    """
    from celebahq.files import refuse_existing
    from trainer.legacy.conversion import import_snapshot
    from trainer.use.snapshot import save_snapshot

    refuse_existing(out, overwrite=overwrite)
    snapshot = import_snapshot(pickle)
    save_snapshot(out, snapshot)
    status(
        f"{out}: generator for {snapshot.config.generator.resolution}x{snapshot.config.generator.resolution}"
    )
