"""Options and endings that several commands share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from celebahq.console import WORKERS, emit_json, exit_if_skipped, json_option, status

if TYPE_CHECKING:
    from celebahq.report import BuildReport

F = TypeVar("F", bound=Callable[..., Any])

HIGHEST_INDEX = 9_999_999


def job_options(command: F) -> F:
    """What `build`, `import` and `reconstruct` share.

    `--codec` (the names are `celebahq.formats.codecs.CODECS`), `--cluster`, `--dry-run`, `--workers` (the
    machine's processors unless told) and `--json`.
    """
    for option in (
        json_option,
        click.option("--workers", type=WORKERS, metavar="N", help="Processes  [default: all]."),
        click.option("--dry-run", is_flag=True, help="Check, print the configuration as JSON, and stop."),
        click.option(
            "--cluster", metavar="ADDRESS", help="Scheduler of a dask cluster that sees the same folders."
        ),
        click.option(
            "--codec",
            type=click.Choice(["gzip", "none", "lzf", "blosc2", "bitshuffle"]),
            default="gzip",
            show_default=True,
            help="Compression; the last two need the extra 'codecs'.",
        ),
    ):
        command = option(command)
    return command


def restorer_options(command: F) -> F:
    """`--jpeg-model`, `--sr-model` and `--sr-alpha`: the two networks."""
    command = click.option(
        "--sr-alpha",
        type=click.FloatRange(0, 1),
        default=1.0,
        show_default=True,
        help="With --sr-model sr4x: 1 is that network alone, 0 is sr4x-psnr, between them a mixture.",
    )(command)
    command = click.option("--sr-model", default="sr4x-psnr", show_default=True, metavar="NAME|PATH|none")(
        command
    )
    return click.option("--jpeg-model", default="jpeg", show_default=True, metavar="NAME|PATH|none")(command)


def require_sr4x(sr_alpha: float, sr_model: str) -> None:
    """A mixture is wrong usage with any other network than the one that has two sets of weights."""
    if not 0 <= sr_alpha <= 1:  # NaN is in no range, but passes for one
        raise click.UsageError(f"--sr-alpha: {sr_alpha} is not between 0 and 1")
    if sr_alpha != 1 and sr_model != "sr4x":
        raise click.UsageError(f"--sr-alpha is for --sr-model sr4x, not {sr_model}")


def parse_indices(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """Callback of an option: numbers and ranges with both ends, as in `0-99,205`, as a sorted list."""
    if value is None:
        return None
    indices: set[int] = set()
    for part in value.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise click.BadParameter(f"'{part}' is not a number or a range such as 0-99", ctx, param)
        start, stop = int(first), int(last or first)
        if not start <= stop <= HIGHEST_INDEX:
            raise click.BadParameter(f"'{part}' must run upwards, to {HIGHEST_INDEX} at most", ctx, param)
        indices.update(range(start, stop + 1))
    return sorted(indices)


def refuse_given(ctx: click.Context, names: tuple[str, ...], source: str) -> None:
    """Options that have no meaning for a source are an error rather than ignored."""
    for name in names:
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} has no meaning with {source}")


def conclude(report: "BuildReport", as_json: bool) -> None:
    """Say what a job did, and end with its exit status."""
    for skip in report.failures[:20]:
        status(f"skipped {skip.name}: {skip.reason}")
    if len(report.failures) > 20:
        status(f"... and {len(report.failures) - 20:,} more, see the report")
    for what, count in report.counts.items():
        status(f"{count:>9,} {what}")
    status(f"{report.images_per_sec:.3g} images/s; report: {report.page}")
    if as_json:
        emit_json({"file": str(report.out), "report": str(report.page), **report.summary()})
    exit_if_skipped(len(report.failures))
