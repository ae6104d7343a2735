"""The commands that look at finished data sets: inspect, verify, compare, extract, sheet."""

from pathlib import Path

import click

from celebahq.arguments import DATA_SET, NEW_FOLDER, NEW_PNG, json_option, overwrite_option
from celebahq.commands.options import parse_indices
from celebahq.console import Progress, counted, emit_json, status
from celebahq.errors import ToolError, one_line


@click.command()
@click.argument("file", type=DATA_SET)
@json_option
def inspect(file: Path, as_json: bool) -> None:
    """Say what a data set FILE holds: images, levels, codecs, labels, facts and provenance.

    \b
    Example:
      celebahq inspect faces.h5
    """
    from dataclasses import asdict

    from celebahq.pyramid_tools.inspection import describe_pyramid, render_facts

    facts = describe_pyramid(file)
    if as_json:
        emit_json(asdict(facts))
    else:
        click.echo(render_facts(facts))


@click.command()
@click.argument("file", type=DATA_SET)
@json_option
def verify(file: Path, as_json: bool) -> None:
    """Check a data set FILE: checksums, counts, and every level recomputed from the largest.

    Exit status 1 when something is wrong.

    \b
    Example:
      celebahq verify faces.h5
    """
    from celebahq.pyramid import PyramidReader
    from celebahq.pyramid_tools.verification import verify_pyramid

    with Progress("verify", len(PyramidReader(file))) as progress:
        problems = verify_pyramid(file, on_image=progress.advance)
    if as_json:
        emit_json({"file": str(file), "problems": problems})
    else:
        click.echo("\n".join(map(one_line, problems)) or "no problems")
    if problems:
        raise ToolError(file, f"{len(problems)} problems")


@click.command()
@click.argument("a", type=DATA_SET)
@click.argument("b", type=DATA_SET)
@json_option
def compare(a: Path, b: Path, as_json: bool) -> None:
    """Compare the data sets A and B, image by image at every level.

    Exit status 1 when images or labels differ; facts and provenance may.

    \b
    Example:
      celebahq compare faces.h5 rebuilt.h5
    """
    from dataclasses import asdict

    from celebahq.pyramid import PyramidReader
    from celebahq.pyramid_tools.comparison import compare_pyramids, render_comparison

    with Progress("compare", min(len(PyramidReader(a)), len(PyramidReader(b)))) as progress:
        comparison = compare_pyramids(a, b, on_image=progress.advance)
    if as_json:
        emit_json({**asdict(comparison), "same_data": comparison.same_data})
    else:
        click.echo(render_comparison(comparison))
    if not comparison.same_data:
        raise ToolError(a, f"other images or labels than {b}")


@click.command()
@click.argument("file", type=DATA_SET)
@click.option("--out", "-o", required=True, type=NEW_FOLDER, metavar="DIR", help="Folder of the pictures.")
@click.option("--indices", callback=parse_indices, metavar="RANGES", help="Such as 0-99,205  [default: all].")
@click.option("--resolution", type=int, metavar="PX", help="Level to take  [default: the largest].")
def extract(file: Path, out: Path, indices: list[int] | None, resolution: int | None) -> None:
    """Write images of a data set FILE as PNG, each named by its place in the file.

    \b
    Example:
      celebahq extract faces.h5 -o pictures --indices 0-9,25 --resolution 256
    """
    from celebahq.pyramid import PyramidReader
    from celebahq.pyramid_tools.extraction import extract_images

    with PyramidReader(file, threads=1) as reader:
        wanted = list(dict.fromkeys(indices)) if indices else range(len(reader))  # one file each
        with Progress("extract", len(wanted)) as progress:
            extract_images(reader, out, indices=wanted, resolution=resolution, on_image=progress.advance)
    status(f"{out}: {counted(len(wanted), 'picture')}")


@click.command()
@click.argument("file", type=DATA_SET)
@click.option("--out", "-o", required=True, type=NEW_PNG, metavar="FILE.png", help="The picture to be.")
@click.option("--indices", callback=parse_indices, metavar="RANGES", help="Such as 205,0-99, in that order.")
@click.option("--best", type=click.IntRange(min=1), metavar="N", help="The N images of the best score.")
@click.option("--worst", type=click.IntRange(min=1), metavar="N", help="The N of the lowest, worst first.")
@click.option(
    "--num",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Without these: so many images, evenly spread over the file.",
)
@click.option("--columns", type=click.IntRange(min=1), metavar="N", help="[default: as many as rows]")
@click.option("--resolution", type=int, metavar="PX", help="Level to take  [default: 128 or less].")
@overwrite_option
def sheet(
    file: Path,
    out: Path,
    indices: list[int] | None,
    best: int | None,
    worst: int | None,
    num: int,
    columns: int | None,
    resolution: int | None,
    overwrite: bool,
) -> None:
    """Lay images of a data set FILE side by side in one PNG.

    \b
    Example:
      celebahq sheet faces.h5 -o sheet.png --num 100 --resolution 128
    """
    from celebahq.pyramid import PyramidReader
    from celebahq.pyramid_tools.extraction import write_sheet
    from celebahq.pyramid_tools.selecting import best_first

    if sum(option is not None for option in (indices, best, worst)) > 1:
        raise click.UsageError("give one of --indices, --best and --worst")
    with PyramidReader(file) as reader:
        if best or worst:
            ranked = best_first(reader).tolist()
            indices = ranked[:best] if best else ranked[: -(worst or 0) - 1 : -1]
        shown = write_sheet(
            reader,
            out,
            indices=indices,
            num=num,
            columns=columns,
            resolution=resolution,
            overwrite=overwrite,
        )
    status(f"{out}: {counted(shown, 'image')}")
