"""Options and endings that several commands share."""

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from celebahq.arguments import HDF5, NEW_DATA_SET, dry_run_option, json_option, workers_option
from celebahq.console import emit_json, exit_if_skipped, status, warn
from celebahq.options import BuildOptions, JobOptions

if TYPE_CHECKING:
    from celebahq.report import BuildReport

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

HIGHEST_INDEX = 9_999_999


def chosen(kind: type[T], given: dict[str, Any], **more: Any) -> T:
    """Options of a command as the dataclass that has fields of their names."""
    names = {each.name for each in fields(cast(Any, kind))}
    return kind(**{name: value for name, value in given.items() if name in names}, **more)


def only_in(kind: type, other: type) -> tuple[str, ...]:
    """Options that one of two dataclasses has alone."""
    known = {each.name for each in fields(other)}
    return tuple(each.name for each in fields(kind) if each.name not in known)


def job_options(command: F) -> F:
    """What `build`, `import` and `reconstruct` share, as `JobOptions` has it; `--dry-run` and `--json`."""
    for option in (
        json_option,
        dry_run_option,
        click.option(
            "--item-timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=JobOptions.item_timeout,
            show_default=True,
            metavar="SEC",
            help="Leave out what takes longer, twice.",
        ),
        click.option("--retry-skipped", is_flag=True, help="Try again what this job left out before."),
        click.option(
            "--max-skip-rate",
            type=click.FloatRange(0, 1),
            metavar="SHARE",
            help="Stop when more items fail  [default: 1 for bad files, 0.05 for trouble that may pass].",
        ),
        workers_option,
        click.option(
            "--cluster", metavar="ADDRESS", help="Scheduler of a dask cluster that sees the same folders."
        ),
        click.option(
            "--codec",
            type=click.Choice(["gzip", "none", "lzf", "blosc2", "bitshuffle"]),
            default=JobOptions.codec,
            show_default=True,
            help="Compression; the last two need the extra 'codecs'.",
        ),
    ):
        command = option(command)
    return command


def shard_size_option(command: F) -> F:
    """`--shard-size`, for jobs whose result may be several files."""
    return click.option(
        "--shard-size",
        type=click.FloatRange(min=0, min_open=True),
        metavar="GB",
        help="Make a folder of files of this size and a manifest, not one file; all workers write.",
    )(command)


def require_fitting_name(ctx: click.Context) -> None:
    """A file's name for one file, a folder's for several."""
    out, shard_size = ctx.params["out"], ctx.params["shard_size"]
    if shard_size is None:
        option = next(each for each in ctx.command.params if each.name == "out")
        NEW_DATA_SET.convert(out, option, ctx)
    elif out.suffix.lower() in HDF5:
        raise click.UsageError(f"--shard-size makes a folder: give --out a name without {out.suffix}")


def restorer_options(command: F) -> F:
    """`--jpeg-model`, `--jpeg-strength` and `--sr-model`: the two networks."""
    command = click.option(
        "--jpeg-strength",
        type=click.FloatRange(0, 1),
        default=BuildOptions.jpeg_strength,
        show_default=True,
        help="Share of the JPEG removal's change that is made; less keeps more grain, and more artifacts.",
    )(command)
    for model in ("sr_model", "jpeg_model"):
        default = getattr(BuildOptions, model)
        command = click.option(
            f"--{model.replace('_', '-')}", default=default, show_default=True, metavar="NAME|PATH|none"
        )(command)
    return command


def require_fitting(jpeg_strength: float, jpeg_model: str) -> None:
    """A strength without a network is wrong usage."""
    if not 0 <= jpeg_strength <= 1:  # NaN is in no range, but passes for one
        raise click.UsageError(f"--jpeg-strength: {jpeg_strength} is not between 0 and 1")
    if jpeg_strength != 1 and jpeg_model == "none":
        raise click.UsageError("--jpeg-strength has no meaning with --jpeg-model none")


def parse_indices(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """Callback of an option: numbers and ranges with both ends, as in `0-99,205`, in the order given."""
    if value is None:
        return None
    indices: list[int] = []
    for part in value.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise click.BadParameter(f"'{part}' is not a number or a range such as 0-99", ctx, param)
        start, stop = int(first), int(last or first)
        if not start <= stop <= HIGHEST_INDEX:
            raise click.BadParameter(f"'{part}' must run upwards, to {HIGHEST_INDEX} at most", ctx, param)
        indices += range(start, stop + 1)
        if len(indices) > HIGHEST_INDEX + 1:
            raise click.BadParameter(f"more than {HIGHEST_INDEX + 1:,} numbers", ctx, param)
    return indices


def refuse_given(ctx: click.Context, names: tuple[str, ...], source: str) -> None:
    """Options that have no meaning for a source are an error rather than ignored."""
    for name in names:
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} has no meaning with {source}")


def conclude(report: "BuildReport", as_json: bool) -> None:
    """Say what a job did, and end with its exit status."""
    for skip in report.failures[:20]:
        warn(f"skipped {skip.name}: {skip.reason}")
    if len(report.failures) > 20:
        warn(f"... and {len(report.failures) - 20:,} more, see the report")
    for what, count in report.counts.items():
        status(f"{count:>9,} {what.replace('_', ' ')}")
    status(f"{report.images_per_sec:.3g} images/s; report: {report.page}")
    if as_json:
        emit_json({"file": str(report.out), "report": str(report.page), **report.summary()})
    exit_if_skipped(len(report.failures))
