"""`celebahq import`: a data set in another form -> a data set."""

from pathlib import Path
from typing import Any

import click

from celebahq.arguments import ANY_PATH, NEW_FILE_OR_PARTS
from celebahq.commands.options import (
    chosen,
    conclude,
    job_options,
    refuse_given,
    require_fitting_name,
    shard_size_option,
)
from celebahq.console import emit_json
from celebahq.options import ImportOptions, ImportRequest, JobOptions
from celebahq.sources.catalogue import SOURCES
from celebahq.terminal import on_terminal


class _ImportCommand(click.Command):
    """Its help lists the sources."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What each source expects on disk, and where it comes from."""
        rows = []
        for source in SOURCES.values():
            options = ", ".join(f"--{option.replace('_', '-')}" for option in sorted(source.options))
            text = f"SRC: {source.expects}. From: {source.origin}."
            rows.append((source.name, f"{text} Understands {options}." if options else text))
        with formatter.section("Sources (NAME)"):
            formatter.write_dl(rows)


@click.command("import", cls=_ImportCommand)
@click.argument("name", metavar="NAME")
@click.argument("src", metavar="SRC", type=ANY_PATH)
@click.option(
    "--out", "-o", required=True, type=NEW_FILE_OR_PARTS, metavar="FILE.h5", help="The data set to make."
)
@shard_size_option
@click.option(
    "--max-images", type=click.IntRange(min=1), metavar="N", help="Only the first N  [default: all]."
)
@click.option("--split", type=click.Choice(["train", "test"]), default=ImportOptions.split, show_default=True)
@click.option(
    "--resolution",
    type=click.Choice(["32", "64", "128", "256", "512", "1024"]),
    default=str(ImportOptions.resolution),
    show_default=True,
    help="Side in pixels to which pictures of any size are brought.",
)
@click.option("--folder-labels", is_flag=True, help="The first sub-folder of a picture is its class.")
@click.option(
    "--resize",
    type=click.Choice(["32", "64", "128", "256", "512", "1024"]),
    metavar="PX",
    help="Bring pictures of other sizes to this side  [default: all must have the first one's].",
)
@click.option("--center-crop", is_flag=True, help="With --resize: take the middle of what is not square.")
@click.option("--partial", is_flag=True, help="Accept another number of images than was published.")
@job_options
@click.pass_context
def import_command(
    ctx: click.Context,
    /,
    name: str,
    src: Path,
    dry_run: bool,
    as_json: bool,
    resolution: str,
    resize: str | None,
    **given: Any,
) -> None:
    """Turn a data set that exists in another form into FILE.h5, with build-report.html beside it.

    The same command continues an import that was interrupted. Ends with status 3 when images had to be
    skipped; they are listed with their reasons.

    \b
    Examples:
      celebahq import folder pictures/ -o pictures.h5 --folder-labels
      celebahq import cifar10 cifar-10-batches-py/ -o cifar10.h5
      celebahq import lsun bedroom_train_lmdb/ -o bedroom.h5 --resolution 256 --max-images 100000
    """
    from celebahq.importing import configuration, import_dataset

    if name not in SOURCES:
        raise click.UsageError(f"NAME {name}: there are {', '.join(SOURCES)}")
    source_options = {"split", "resolution", "folder_labels", "partial", "resize", "center_crop"}
    require_fitting_name(ctx)
    refuse_given(ctx, tuple(sorted(source_options - SOURCES[name].options)), name)
    if given["center_crop"] and resize is None:
        raise click.UsageError("--center-crop needs --resize")
    request = chosen(
        ImportRequest,
        given,
        source=name,
        path=src,
        options=chosen(
            ImportOptions, given, resolution=int(resolution), resize=None if resize is None else int(resize)
        ),
        job=chosen(JobOptions, given),
    )
    with on_terminal() as progress:
        if dry_run:
            emit_json(configuration(request))
            return
        report = import_dataset(request, progress)
    conclude(report, as_json)
