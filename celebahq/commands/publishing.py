"""The commands that make other files of finished data sets: select, export."""

from pathlib import Path
from typing import Any

import click

from celebahq.arguments import DATA_SET, FILE, NEW_DATA_SET, NEW_FOLDER, NEW_PATH, NEW_ZIP, overwrite_option
from celebahq.commands.options import parse_indices
from celebahq.console import Progress, status


def _parse_labels(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, float], ...]:
    """Callback of an option: `NAME=VALUE`, any number of times."""
    labels = []
    for text in values:
        name, _, value = text.rpartition("=")
        try:
            labels.append((name, float(value)))
        except ValueError:
            raise click.BadParameter(f"'{text}' is not NAME=NUMBER", ctx, param) from None
        if not name:
            raise click.BadParameter(f"'{text}' is not NAME=NUMBER", ctx, param)
    return tuple(labels)


@click.command()
@click.argument("file", type=DATA_SET)
@click.option("--out", "-o", required=True, type=NEW_DATA_SET, metavar="OUT.h5", help="The data set to be.")
@click.option("--best", type=click.IntRange(min=1), metavar="N", help="The N of the best score, of the rest.")
@click.option("--indices", callback=parse_indices, metavar="RANGES", help="Such as 205,0-99, in that order.")
@click.option("--names", type=FILE, metavar="LIST", help="Only photos that this file names, one a line.")
@click.option("--exclude", type=FILE, metavar="LIST", help="No photos that this file names.")
@click.option("--min-score", type=float, help="Of the quality that the build has measured.")
@click.option("--max-score", type=float, help="The same from above.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    callback=_parse_labels,
    metavar="NAME=VALUE",
    help="Only images whose label (its name, or the number of its column) has this value; may be repeated.",
)
@overwrite_option
def select(
    file: Path, out: Path, names: Path | None, exclude: Path | None, overwrite: bool, **given: Any
) -> None:
    """Make a data set of some images of a data set FILE, with their labels and facts.

    Images are copied as they are stored. They must meet all that is asked for, and keep the file's order, or
    that of --indices, in which one may stand twice.

    \b
    Examples:
      celebahq select faces.h5 -o best.h5 --best 1000
      celebahq select celeba-hq.h5 -o smiling.h5 --label Smiling=1 --exclude bad.txt
    """
    from celebahq.pyramid import PyramidReader
    from celebahq.pyramid_tools.selecting import Selection, select_images
    from celebahq.sources.listing import read_list

    selection = Selection(
        names=None if names is None else read_list(names),
        exclude=None if exclude is None else read_list(exclude),
        **given,
    )
    with PyramidReader(file) as reader, Progress("select", len(reader)) as progress:
        count = select_images(reader, out, selection, overwrite=overwrite, on_image=progress.advance)
    status(f"{out}: {count:,} of {len(reader):,} images")


OUT = 2  # the place of `--out` among the parameters of `export`
FORMS = ("folder", "zip", "tfrecord", "webdataset", "mds", "folder-by-class", "imagefolder")


@click.command()
@click.argument("file", type=DATA_SET)
@click.option("--to", "form", required=True, type=click.Choice(FORMS))
@click.option("--out", "-o", required=True, type=NEW_PATH, metavar="PATH", help="Folder or zip to be.")
@click.option("--resolution", type=int, metavar="PX", help="Level to take  [default: the largest].")
@overwrite_option
@click.pass_context
def export(
    ctx: click.Context, /, file: Path, form: str, out: Path, resolution: int | None, overwrite: bool
) -> None:
    """Write a data set FILE in a form that other trainers read.

    \b
    folder           PNG files and dataset.json (labels)
    zip              the same in one file, as StyleGAN 2 and 3 read it
    tfrecord         every level, as the TensorFlow versions of progressive GAN and StyleGAN read them
    webdataset       tar files of a thousand images, with labels and facts as JSON
    mds              shards and index.json, with labels and facts, as Mosaic's StreamingDataset reads them
    folder-by-class  PNG files in a folder for each class, as torchvision's ImageFolder reads them
    imagefolder      PNG files and metadata.jsonl with labels and facts, as Hugging Face's datasets reads them

    Names, landmarks and scores go into webdataset, mds and imagefolder; the others have no place for them.

    \b
    Examples:
      celebahq export faces.h5 --to zip -o faces-256.zip --resolution 256
      celebahq export faces.h5 --to imagefolder -o faces/
    """
    from celebahq.pyramid import PyramidReader
    from celebahq.pyramid_tools.exporting import export_images, facts_left_out

    (NEW_ZIP if form == "zip" else NEW_FOLDER)(out, ctx.command.params[OUT], ctx)
    if form == "tfrecord" and resolution:
        raise click.UsageError("--resolution: tfrecord always holds every level")
    with PyramidReader(file, threads=1) as reader, Progress("export", len(reader)) as progress:
        export_images(
            reader, out, form, resolution=resolution, overwrite=overwrite, on_image=progress.advance
        )
        dropped = facts_left_out(reader, form)
    status(f"{out}: {len(reader):,} images")
    if dropped:
        status(f"left out, for {form} has no place for it: {', '.join(dropped)} (see --to imagefolder)")
