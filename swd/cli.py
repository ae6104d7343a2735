"""The `swd` command: one function per command, each one library call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from celebahq.arguments import (
    ANY_PATH,
    NEW_PNG,
    NEW_SAFETENSORS,
    device_option,
    json_option,
    overwrite_option,
    seed_option,
    workers_option,
)
from celebahq.console import ToolGroup, emit_json, resolve_device, status
from celebahq.terminal import on_terminal

if TYPE_CHECKING:
    from swd.pipeline.resources import Resources

F = TypeVar("F", bound=Callable[..., Any])


class MetricList(click.ParamType[list[str]]):
    """Metrics separated by commas."""

    name = "LIST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """`swd,msssim` -> `["swd", "msssim"]`."""
        from swd.comparison import METRICS

        chosen = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
        for name in chosen:
            if name not in METRICS:
                self.fail(f"{name!r} is not one of {', '.join(METRICS)}", param, ctx)
        return chosen


def protocol_options(command: F) -> F:
    """What determines the figures: `--images`, `--resolution`, `--seed`."""
    images = click.option(
        "--images",
        type=click.IntRange(min=1),
        metavar="N",
        help="Images per set  [default: as many as every set has, at most 16,384].",
    )
    resolution = click.option(
        "--resolution",
        type=click.IntRange(min=16),
        metavar="PX",
        help="Reduce larger images to this size: by a box filter for powers of two, else by Lanczos.",
    )
    return images(resolution(seed_option(command)))


def difference_options(command: F) -> F:
    """What is said about several sets: `--baseline`, `--paired`."""
    baseline = click.option(
        "--baseline",
        metavar="NAME",
        help="Set of fakes that the others' differences are to  [default: the first].",
    )
    paired = click.option(
        "--paired",
        is_flag=True,
        help="Images at the same place of all sets of fakes belong together (same latents, same names).",
    )
    return baseline(paired(command))


def machine_options(command: F) -> F:
    """What does not: `--device`, `--workers`."""
    return device_option(workers_option(command))


def output_options(command: F) -> F:
    """`--metrics`, `--json`, `--csv`, `--plot`, `--overwrite`."""
    metrics = click.option(
        "--metrics",
        type=MetricList(),
        default="swd",
        show_default=True,
        help="Any of swd, msssim, fid, is; the last two need the extra `fidelity`.",
    )
    as_csv = click.option("--csv", "as_csv", is_flag=True, help="Print the result as CSV.")
    plot = click.option("--plot", type=NEW_PNG, metavar="FILE.png", help="Draw the distances.")
    return metrics(json_option(as_csv(plot(overwrite_option(command)))))


def comparing(command: F) -> F:
    """What `compare` and `track` are given."""
    real = click.argument("real", type=ANY_PATH)
    fakes = click.argument("fakes", type=ANY_PATH, nargs=-1, required=True, metavar="FAKE...")
    options = protocol_options(difference_options(machine_options(output_options(command))))
    return real(fakes(options))


@click.group(cls=ToolGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="celebahq-toolkit", prog_name="swd")
def main() -> None:
    """Judge image generators by the Laplacian-pyramid sliced Wasserstein distance."""


@main.command()
@comparing
def compare(as_json: bool, **options: Any) -> None:
    """Distance between real and generated images, level by level.

    REAL and FAKE are HDF5 pyramids, folders (searched recursively), zips, or npz or npy arrays of images;
    REAL may be a cache made by `swd cache`. The reals' distance to themselves is given for comparison. Of
    several sets of fakes, the differences to the first are given with their own standard errors.

    \b
    Example:
      swd compare celebahq.h5 fakes/ --plot swd.png
      swd compare celebahq.h5 ours/ theirs/ --baseline theirs
      torchrun --nproc-per-node 8 -m swd compare celebahq.h5 fakes/
    """
    from swd.report import as_single_json

    _run(to_json=as_single_json if as_json else None, **options)


@main.command()
@comparing
def track(as_json: bool, **options: Any) -> None:
    """Distances of several sets of generated images, in one table and one plot.

    For the snapshots of a training run, say: one folder of images for each, in the order of training.

    \b
    Example:
      swd track real.swd.safetensors fakes-0200/ fakes-0400/ fakes-0600/ --plot track.png
    """
    from swd.report import as_json as to_json

    _run(to_json=to_json if as_json else None, curves=True, **options)


@main.command()
@click.argument("real", type=ANY_PATH)
@click.option(
    "-o", "--out", type=NEW_SAFETENSORS, required=True, metavar="FILE.swd.safetensors", help="To write."
)
@overwrite_option
@protocol_options
@machine_options
def cache(real: Path, out: Path, overwrite: bool, device: str, workers: int | None, **protocol: Any) -> None:
    """Keep what a comparison computes from the real images, for many comparisons with them.

    The file holds the descriptors of `--images` images: 1.2 GB per level for 16,384 of them.

    \b
    Example:
      swd cache celebahq.h5 -o real.swd.safetensors
      swd compare real.swd.safetensors fakes/
    """
    from swd.comparison import make_cache

    with _resources(device, workers) as resources:
        held = make_cache(real, out, overwrite=overwrite, resources=resources, **protocol)
        resources.say(f"{out}: {held.images:,} images of {held.resolution} px")


def _run(
    real: Path,
    fakes: tuple[Path, ...],
    *,
    to_json: Callable[[Any], dict[str, Any]] | None,
    as_csv: bool,
    plot: Path | None,
    overwrite: bool,
    metrics: list[str],
    device: str,
    workers: int | None,
    curves: bool = False,
    **choices: Any,
) -> None:
    """Compare, and give the result in the forms asked for."""
    from celebahq.files import require_writable
    from swd import report as forms
    from swd.comparison import compare
    from swd.plot import plot_levels, plot_track

    if to_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    if plot and "swd" not in metrics:
        raise click.UsageError("--plot draws distances: add swd to --metrics")
    if choices["paired"] and (len(fakes) < 2 or "swd" not in metrics):
        raise click.UsageError("--paired is about differences between the distances of several sets")
    if plot:
        require_writable(plot, overwrite=overwrite)
    with _resources(device, workers) as resources:
        report = compare(real, list(fakes), metrics=metrics, resources=resources, **choices)
        if not resources.world.is_main:
            return
    if to_json:
        emit_json(to_json(report))
    elif as_csv:
        click.echo(forms.as_csv(report), nl=False)
    else:
        click.echo(forms.as_table(report))
    if plot:
        (plot_track if curves or len(fakes) > 1 else plot_levels)(report, plot)
        status(f"{plot}: distances of {len(fakes)} sets")


@contextmanager
def _resources(device: str, workers: int | None) -> Iterator["Resources"]:
    """What there is to compute with, shared under `torchrun`; the library's log and progress go to stderr."""
    from swd.comparison import open_resources

    with on_terminal("swd") as stages:
        if device == "auto":
            resolve_device(device)
        with open_resources(device, workers, stages, together=True) as resources:
            yield resources
