"""`celebahq build`: photos -> a data set."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from celebahq.commands.options import (
    chosen,
    conclude,
    job_options,
    refuse_given,
    require_fitting,
    restorer_options,
)
from celebahq.console import (
    FOLDER,
    NEW_FILE,
    device_option,
    emit_json,
    resolve_device,
)
from celebahq.options import BuildOptions, CelebaSource, JobOptions, PhotoSource, Source
from celebahq.terminal import on_terminal


@click.command("build")
@click.option("--celeba-dir", type=FOLDER, metavar="DIR", help="CelebA: img_celeba/ and Anno/ below it.")
@click.option("--photos", type=FOLDER, metavar="DIR", help="Any photos, in sub-folders too.")
@click.option("--out", "-o", required=True, type=NEW_FILE, metavar="FILE.h5", help="The data set to make.")
@click.option(
    "--resolution",
    type=click.Choice(["256", "512", "1024", "2048"]),
    default=str(BuildOptions.resolution),
    show_default=True,
    help="Side of the images in pixels.",
)
@click.option(
    "--keep", type=click.IntRange(min=1), metavar="N", help="Only the best N images  [default: all]."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N photos.")
@restorer_options
@click.option(
    "--sr-when",
    type=click.Choice(["needed", "always"]),
    default=BuildOptions.sr_when,
    show_default=True,
    help="Enlarge only faces smaller than the target, or all.",
)
@click.option(
    "--labels",
    multiple=True,
    type=click.Choice(["attributes", "identities"]),
    help="CelebA's annotations as labels; may be given twice.",
)
@click.option(
    "--min-eye-distance",
    type=click.FloatRange(min=0),
    default=PhotoSource.min_eye_distance,
    show_default=True,
    metavar="PX",
    help="--photos: leave smaller faces out.",
)
@click.option(
    "--detector-scale",
    type=click.FloatRange(min=0.1, max=8),
    default=PhotoSource.detector_scale,
    show_default=True,
    help="--photos: enlarge for the detector; 2 finds faces half as large, in four times the time.",
)
@click.option("--keep-duplicates", is_flag=True, help="--photos: keep photos that repeat another one.")
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=PhotoSource.max_pixels,
    show_default=True,
    metavar="N",
    help="Skip larger photos before they are decoded.",
)
@click.option(
    "--mixed-hardware",
    is_flag=True,
    help="Accept machines whose networks compute differently: images then depend on who made them.",
)
@job_options
@device_option
@click.pass_context
def build_command(
    ctx: click.Context,
    /,
    celeba_dir: Path | None,
    photos: Path | None,
    resolution: str,
    device: str,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Make an aligned, ranked data set from in-the-wild photos.

    Restores each photo, crops each face upright, scores it, keeps the best, and writes the images at every
    resolution into one HDF5 file, with build-report.html beside it. The same command continues a build
    that was interrupted, however that happened; its scratch is FILE.h5.work.

    Ends with status 3 when photos were skipped for an error. Photos without a face, with faces that are too
    small, and repeated photos are reported, and are no errors.

    \b
    Examples:
      celebahq build --photos holiday/ --out faces.h5 --resolution 512
      celebahq build --celeba-dir CelebA/ --keep 30000 --out celeba-hq.h5
    """
    from celebahq.build import build_dataset, configuration

    if (celeba_dir is None) == (photos is None):
        raise click.UsageError("give either --celeba-dir DIR or --photos DIR")
    source: Source
    if celeba_dir is not None:
        refuse_given(ctx, ("min_eye_distance", "detector_scale", "keep_duplicates"), "--celeba-dir")
        source = chosen(CelebaSource, given, folder=celeba_dir)
    else:
        assert photos is not None
        refuse_given(ctx, ("labels",), "--photos")
        source = chosen(PhotoSource, given, folder=photos)
    require_fitting(*(given[name] for name in ("jpeg_strength", "jpeg_model", "sr_alpha", "sr_model")))
    options = chosen(
        BuildOptions,
        given,
        source=source,
        resolution=int(resolution),
        device=device,
        job=chosen(JobOptions, given),
    )
    if (options.uses_networks or device != "auto") and not options.job.cluster:
        options = replace(options, device=str(resolve_device(device)))  # a cluster's machines see to theirs
    with on_terminal() as progress:
        if dry_run:
            emit_json(configuration(options))
            return
        report = build_dataset(options, progress)
    conclude(report, as_json)
