"""`celebahq build`: photos -> a data set."""

from pathlib import Path
from typing import Literal

import click

from celebahq.commands.options import (
    conclude,
    job_options,
    refuse_given,
    require_sr4x,
    restorer_options,
)
from celebahq.console import (
    FOLDER,
    NEW_FILE,
    device_option,
    emit_json,
    resolve_device,
)


@click.command()
@click.option("--celeba-dir", type=FOLDER, metavar="DIR", help="CelebA: img_celeba/ and Anno/ below it.")
@click.option("--photos", type=FOLDER, metavar="DIR", help="Any photos, in sub-folders too.")
@click.option("--out", "-o", required=True, type=NEW_FILE, metavar="FILE.h5", help="The data set to make.")
@click.option(
    "--resolution",
    type=click.Choice(["256", "512", "1024", "2048"]),
    default="1024",
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
    default="needed",
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
    default=32.0,
    show_default=True,
    metavar="PX",
    help="--photos: leave smaller faces out.",
)
@click.option(
    "--detector-scale",
    type=click.FloatRange(min=0.1, max=8),
    default=1.0,
    show_default=True,
    help="--photos: enlarge for the detector; 2 finds faces half as large, in four times the time.",
)
@click.option("--keep-duplicates", is_flag=True, help="--photos: keep photos that repeat another one.")
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=1 << 27,
    show_default=True,
    metavar="N",
    help="Skip larger photos before they are decoded.",
)
@job_options
@device_option
@click.pass_context
def build(
    ctx: click.Context,
    celeba_dir: Path | None,
    photos: Path | None,
    out: Path,
    resolution: str,
    keep: int | None,
    limit: int | None,
    jpeg_model: str,
    sr_model: str,
    sr_alpha: float,
    sr_when: Literal["needed", "always"],
    labels: tuple[str, ...],
    min_eye_distance: float,
    detector_scale: float,
    keep_duplicates: bool,
    max_pixels: int,
    codec: str,
    cluster: str | None,
    dry_run: bool,
    workers: int | None,
    device: str,
    as_json: bool,
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
    from celebahq.build import BuildOptions, build, configuration
    from celebahq.build_index import CelebaSource, PhotoSource

    if (celeba_dir is None) == (photos is None):
        raise click.UsageError("give either --celeba-dir DIR or --photos DIR")
    source: CelebaSource | PhotoSource
    if celeba_dir is not None:
        refuse_given(ctx, ("min_eye_distance", "detector_scale", "keep_duplicates"), "--celeba-dir")
        source = CelebaSource(celeba_dir, labels, limit, max_pixels)
    else:
        assert photos is not None
        refuse_given(ctx, ("labels",), "--photos")
        source = PhotoSource(photos, min_eye_distance, detector_scale, keep_duplicates, limit, max_pixels)
    require_sr4x(sr_alpha, sr_model)
    uses_network = (jpeg_model, sr_model) != ("none", "none")
    options = BuildOptions(
        source=source,
        out=out,
        resolution=int(resolution),
        keep=keep,
        jpeg_model=jpeg_model,
        sr_model=sr_model,
        sr_alpha=sr_alpha,
        sr_when=sr_when,
        device=str(resolve_device(device)) if uses_network or device != "auto" else "cpu",
        codec=codec,
        workers=workers,
        cluster=cluster,
    )
    if dry_run:
        emit_json(configuration(options))
        return
    conclude(build(options), as_json)
