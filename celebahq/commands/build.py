"""`celebahq build`: photos -> a data set."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from celebahq.arguments import FILE, FOLDER, NEW_FILE_OR_PARTS, device_option
from celebahq.commands.options import (
    chosen,
    conclude,
    job_options,
    only_in,
    refuse_given,
    require_fitting,
    require_fitting_name,
    restorer_options,
    shard_size_option,
)
from celebahq.console import emit_json, resolve_device
from celebahq.options import BuildOptions, CelebaSource, JobOptions, PhotoSource, Source
from celebahq.terminal import on_terminal


class _BuildCommand(click.Command):
    """Says what is missing to those who give a folder alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what is no option, with the command that was meant."""
        _, unnamed, _ = self.make_parser(ctx).parse_args(list(args))
        if unnamed:
            folder = unnamed[0].rstrip("/")
            ctx.fail(
                f"'{unnamed[0]}' has no option before it. Photos are given as --photos DIR (or CelebA as "
                f"--celeba-dir DIR), the data set to make as --out FILE.h5: "
                f"celebahq build --photos {folder} --out {folder}.h5"
            )
        return super().parse_args(ctx, args)


@click.command("build", cls=_BuildCommand)
@click.option("--celeba-dir", type=FOLDER, metavar="DIR", help="CelebA: img_celeba/ and Anno/ below it.")
@click.option("--photos", type=FOLDER, metavar="DIR", help="Any photos, in sub-folders too.")
@click.option(
    "--out", "-o", required=True, type=NEW_FILE_OR_PARTS, metavar="FILE.h5", help="The data set to make."
)
@shard_size_option
@click.option(
    "--resolution",
    type=click.Choice(["64", "128", "256", "512", "1024", "2048"]),
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
    "--detector",
    type=click.Choice(["yunet", "hog", "cnn"]),
    default=PhotoSource.detector,
    show_default=True,
    help="--photos: what finds the faces; the last two are dlib's.",
)
@click.option("--detector-model", type=FILE, metavar="FILE.onnx", help="--photos: another file of YuNet.")
@click.option(
    "--select",
    type=click.Choice(["all", "largest"]),
    default=PhotoSource.select,
    show_default=True,
    help="--photos: all faces of a photo, or the one with the widest eyes.",
)
@click.option(
    "--max-per-photo", type=click.IntRange(min=1), metavar="N", help="--photos: at most so many faces."
)
@click.option(
    "--min-score",
    type=float,
    default=PhotoSource.min_score,
    show_default=True,
    help="--photos: leave out faces that the detector is less sure of (0 to 1 with yunet).",
)
@click.option(
    "--max-roll",
    type=click.FloatRange(0, 180),
    default=PhotoSource.max_roll,
    show_default=True,
    metavar="DEGREES",
    help="--photos: leave out faces that are turned by more.",
)
@click.option(
    "--max-outside",
    type=click.FloatRange(0, 1),
    default=PhotoSource.max_outside,
    show_default=True,
    metavar="SHARE",
    help="--photos: leave out crops of which more lies outside the photo, and would be made up.",
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
@click.option("--keep-duplicates", is_flag=True, help="--photos: keep photos and faces that repeat another.")
@click.option("--exclude", type=FILE, metavar="FILE", help="Photos to leave out: paths below the folder.")
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
    that was interrupted, however that happened; its scratch is FILE.h5.work. With more photos in the folder
    it adds them to a finished one, which needs FILE.h5.records.

    Faces are found at any roll. Those that are too small, unsure or mostly outside the photo are left out,
    and so are photos and faces that repeat another one; the report lists them. Status 3 is for photos that
    were skipped for an error.

    \b
    Examples:
      celebahq build --photos holiday/ --out faces.h5 --resolution 512
      celebahq build --celeba-dir CelebA/ --keep 30000 --out celeba-hq.h5
    """
    from celebahq.build import build_dataset, configuration

    if (celeba_dir is None) == (photos is None):
        raise click.UsageError("give either --celeba-dir DIR or --photos DIR")
    require_fitting_name(ctx)
    source: Source
    if celeba_dir is not None:
        refuse_given(ctx, only_in(PhotoSource, CelebaSource), "--celeba-dir")
        source = chosen(CelebaSource, given, folder=celeba_dir)
    else:
        assert photos is not None
        refuse_given(ctx, only_in(CelebaSource, PhotoSource), "--photos")
        if given["detector_model"] and given["detector"] != "yunet":
            raise click.UsageError(f"--detector-model is for --detector yunet, not {given['detector']}")
        source = chosen(PhotoSource, given, folder=photos)
    require_fitting(given["jpeg_strength"], given["jpeg_model"])
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
