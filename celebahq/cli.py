"""The `celebahq` command: one function per command, each one library call."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from celebahq.console import (
    ANY_PATH,
    FILE,
    FOLDER,
    NEW_PATH,
    Progress,
    ToolGroup,
    cluster_option,
    codec_option,
    device_option,
    emit_json,
    exit_if_skipped,
    json_option,
    parse_indices,
    resolve_device,
    status,
    workers_option,
)
from celebahq.errors import ToolError

if TYPE_CHECKING:
    from celebahq.report import BuildReport


@click.group(cls=ToolGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="celebahq-toolkit")
def main() -> None:
    """Rebuild CelebA-HQ from in-the-wild photos, and make data sets like it from any folder."""


@main.command()
@click.option("--celeba-dir", type=FOLDER, metavar="DIR", help="CelebA: img_celeba/ and Anno/ below it.")
@click.option("--photos", type=FOLDER, metavar="DIR", help="Any photos, in sub-folders too.")
@click.option("--out", required=True, type=NEW_PATH, metavar="FILE.h5", help="The data set to make.")
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
@click.option("--jpeg-model", default="jpeg", show_default=True, metavar="NAME|PATH|none")
@click.option("--sr-model", default="sr4x-psnr", show_default=True, metavar="NAME|PATH|none")
@click.option(
    "--sr-alpha",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="With --sr-model sr4x: 1 is that network alone, 0 is sr4x-psnr, between them a mixture.",
)
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
@codec_option
@cluster_option
@click.option("--dry-run", is_flag=True, help="Check, print the configuration as JSON, and stop.")
@workers_option
@device_option
@json_option
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
        _refuse_given(ctx, ("min_eye_distance", "detector_scale", "keep_duplicates"), "--celeba-dir")
        source = CelebaSource(celeba_dir, labels, limit, max_pixels)
    else:
        assert photos is not None
        _refuse_given(ctx, ("labels",), "--photos")
        source = PhotoSource(photos, min_eye_distance, detector_scale, keep_duplicates, limit, max_pixels)
    if sr_alpha != 1 and sr_model != "sr4x":
        raise click.UsageError(f"--sr-alpha is for --sr-model sr4x, not {sr_model}")
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
    _conclude(build(options), as_json)


def _conclude(report: "BuildReport", as_json: bool) -> None:
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


def _refuse_given(ctx: click.Context, names: tuple[str, ...], source: str) -> None:
    """Options that have no meaning for a source are an error rather than ignored."""
    for name in names:
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} has no meaning with {source}")


@main.command()
@click.argument("photos", metavar="IMAGE...", nargs=-1, required=True, type=ANY_PATH)
@click.option("--out", required=True, type=NEW_PATH, metavar="DIR", help="Folder of the results.")
@click.option("--jpeg-model", default="jpeg", show_default=True, metavar="NAME|PATH|none")
@click.option("--sr-model", default="sr4x-psnr", show_default=True, metavar="NAME|PATH|none")
@click.option(
    "--sr-alpha",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="With --sr-model sr4x: 1 is that network alone, 0 is sr4x-psnr, between them a mixture.",
)
@click.option("--compare", is_flag=True, help="Also write NAME.compare.png: before and after, side by side.")
@click.option("--overwrite", is_flag=True, help="Replace results that are there; else they are kept.")
@device_option
@json_option
def restore(
    photos: tuple[Path, ...],
    out: Path,
    jpeg_model: str,
    sr_model: str,
    sr_alpha: float,
    compare: bool,
    overwrite: bool,
    device: str,
    as_json: bool,
) -> None:
    """Remove JPEG artifacts from photos and enlarge them 4 times.

    Writes DIR/NAME.png for each photo. The networks are the ones that come with the package (jpeg, sr4x,
    sr4x-psnr), or weight files of your own; none leaves a stage out.

    \b
    Example:
      celebahq restore photo.jpg --out restored --compare
    """
    from celebahq.restore.infer import load_restorer
    from celebahq.restore.photos import restore_photos

    where = resolve_device(device)
    if sr_alpha != 1 and sr_model != "sr4x":
        raise click.UsageError("--sr-alpha goes with --sr-model sr4x")
    stages = []
    if jpeg_model != "none":
        stages.append(load_restorer(jpeg_model, where))
    if sr_model != "none":
        stages.append(load_restorer(sr_model, where, alpha=sr_alpha))
    if not stages:
        raise click.UsageError("--jpeg-model none and --sr-model none leave nothing to do")
    names = " and ".join(stage.name for stage in stages)
    status(f"{len(photos)} photos through {names} ({stages[0].dtype}) into {out}")
    with Progress("restore", len(photos), unit="photos") as progress:
        outcome = restore_photos(
            photos,
            out,
            stages,
            compare=compare,
            overwrite=overwrite,
            on_photo=lambda skipped: progress.advance(skipped=int(skipped)),
        )
    for photo, reason in outcome.skipped.items():
        status(f"skipped {photo}: {reason}")
    kept = f", {len(outcome.kept)} were there already" if outcome.kept else ""
    status(f"{len(outcome.written)} written{kept}, {len(outcome.skipped)} skipped")
    if as_json:
        emit_json(
            {
                "written": [str(path) for path in outcome.written],
                "kept": [str(path) for path in outcome.kept],
                "skipped": outcome.skipped,
                "networks": {stage.name: stage.sha256 for stage in stages},
            }
        )
    exit_if_skipped(len(outcome.skipped))


@main.command()
@click.option("--celeba-dir", required=True, type=FOLDER, metavar="DIR", help="Holds img_celeba and Anno.")
@click.option("--delta-dir", required=True, type=FOLDER, metavar="DIR", help="image_list.txt and 30 zips.")
@click.option("--out", "-o", required=True, type=NEW_PATH, metavar="FILE.h5", help="The data set to be.")
@click.option("--indices", callback=parse_indices, metavar="RANGES", help="Only these, e.g. 0-99,205.")
@click.option("--strict", is_flag=True, help="Stop at the first image that fails a check.")
@click.option("--skip-self-test", is_flag=True, help="Accept other input than the published files.")
@codec_option
@cluster_option
@click.option("--dry-run", is_flag=True, help="Check the input, print the configuration as JSON, and stop.")
@workers_option
@json_option
def reconstruct(
    celeba_dir: Path,
    delta_dir: Path,
    out: Path,
    indices: list[int] | None,
    strict: bool,
    skip_self_test: bool,
    codec: str,
    cluster: str | None,
    dry_run: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Rebuild the published CelebA-HQ, bit for bit, from CelebA's photos and the authors' delta files.

    Needs pip install 'celebahq-toolkit[reconstruct]'. Each image is written only if its two published
    checksums hold; the others are listed, also in FILE.h5.report.json. Ended at any moment, the same
    command continues.

    \b
    Example:
      celebahq reconstruct --celeba-dir CelebA --delta-dir deltas -o celeba-hq-1024x1024.h5
    """
    from celebahq.reconstruct import ReconstructOptions, prepare, reconstruct, report_path

    options = ReconstructOptions(
        celeba_dir=celeba_dir,
        delta_dir=delta_dir,
        out=out,
        indices=indices,
        strict=strict,
        self_test=not skip_self_test,
        codec=codec,
        workers=workers,
        cluster=cluster,
    )
    if dry_run:
        emit_json(prepare(options).facts())
        return
    report = reconstruct(options)
    for image in report.failed:
        status(f"not written: {image.orig_file} (image {image.idx}): {image.reason}")
    status(f"{out}: {report.written:,} images, {len(report.failed):,} failed; see {report_path(out).name}")
    if as_json:
        emit_json(report.to_json())
    exit_if_skipped(len(report.failed))


class _ImportCommand(click.Command):
    """Its help lists the sources."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What each source expects on disk, and where it comes from."""
        from celebahq.sources.importable import SOURCES

        rows = []
        for source in SOURCES.values():
            options = ", ".join(f"--{option.replace('_', '-')}" for option in sorted(source.options))
            text = f"SRC: {source.expects}. From: {source.origin}."
            rows.append((source.name, f"{text} Understands {options}." if options else text))
        with formatter.section("Sources (NAME)"):
            formatter.write_dl(rows)


@main.command("import", cls=_ImportCommand)
@click.argument("name", metavar="NAME")
@click.argument("src", metavar="SRC", type=ANY_PATH)
@click.option("--out", "-o", required=True, type=NEW_PATH, metavar="FILE.h5", help="The data set to make.")
@click.option(
    "--max-images", type=click.IntRange(min=1), metavar="N", help="Only the first N  [default: all]."
)
@click.option("--split", type=click.Choice(["train", "test"]), default="train", show_default=True)
@click.option(
    "--resolution",
    type=click.Choice(["32", "64", "128", "256", "512", "1024"]),
    default="256",
    show_default=True,
    help="Side in pixels to which pictures of any size are brought.",
)
@click.option("--folder-labels", is_flag=True, help="The first sub-folder of a picture is its class.")
@click.option("--partial", is_flag=True, help="Accept another number of images than was published.")
@codec_option
@cluster_option
@click.option("--dry-run", is_flag=True, help="Check, print the configuration as JSON, and stop.")
@workers_option
@json_option
@click.pass_context
def import_(
    ctx: click.Context,
    name: str,
    src: Path,
    out: Path,
    max_images: int | None,
    split: str,
    resolution: str,
    folder_labels: bool,
    partial: bool,
    codec: str,
    cluster: str | None,
    dry_run: bool,
    workers: int | None,
    as_json: bool,
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
    from celebahq.importing import ImportRequest, configuration, import_images
    from celebahq.sources.image_set import ImportOptions
    from celebahq.sources.importable import SOURCES

    if name not in SOURCES:
        raise click.UsageError(f"NAME {name}: there are {', '.join(SOURCES)}")
    source_options = {"split", "resolution", "folder_labels", "partial"}
    _refuse_given(ctx, tuple(sorted(source_options - SOURCES[name].options)), name)
    request = ImportRequest(
        source=name,
        path=src,
        out=out,
        options=ImportOptions(split, int(resolution), folder_labels, partial),
        max_images=max_images,
        codec=codec,
        workers=workers,
        cluster=cluster,
    )
    if dry_run:
        emit_json(configuration(request))
        return
    _conclude(import_images(request), as_json)


@main.command()
@click.argument("file", type=FILE)
@json_option
def inspect(file: Path, as_json: bool) -> None:
    """Say what a data set FILE holds: images, levels, codecs, labels, facts and provenance.

    \b
    Example:
      celebahq inspect faces.h5
    """
    from dataclasses import asdict

    from celebahq.inspection import describe_pyramid, render_facts

    facts = describe_pyramid(file)
    if as_json:
        emit_json(asdict(facts))
    else:
        click.echo(render_facts(facts))


@main.command()
@click.argument("file", type=FILE)
@json_option
def verify(file: Path, as_json: bool) -> None:
    """Check a data set FILE: checksums, counts, and every level recomputed from the largest.

    Exit status 1 when something is wrong.

    \b
    Example:
      celebahq verify faces.h5
    """
    from celebahq.pyramid import PyramidReader
    from celebahq.verification import verify_pyramid

    with Progress("verify", len(PyramidReader(file))) as progress:
        problems = verify_pyramid(file, on_image=progress.advance)
    if as_json:
        emit_json({"file": str(file), "problems": problems})
    else:
        click.echo("\n".join(problems) or "no problems")
    if problems:
        raise ToolError(f"{file}: {len(problems)} problems")


@main.command()
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@json_option
def compare(a: Path, b: Path, as_json: bool) -> None:
    """Compare the data sets A and B, image by image at every level.

    Exit status 1 when images or labels differ; facts and provenance may.

    \b
    Example:
      celebahq compare faces.h5 rebuilt.h5
    """
    from dataclasses import asdict

    from celebahq.comparison import compare_pyramids, render_comparison
    from celebahq.pyramid import PyramidReader

    with Progress("compare", min(len(PyramidReader(a)), len(PyramidReader(b)))) as progress:
        comparison = compare_pyramids(a, b, on_image=progress.advance)
    if as_json:
        emit_json({**asdict(comparison), "same_data": comparison.same_data})
    else:
        click.echo(render_comparison(comparison))
    if not comparison.same_data:
        raise ToolError(f"{a} and {b} differ")


@main.command()
@click.argument("file", type=FILE)
@click.option("--out", "-o", required=True, type=NEW_PATH, metavar="DIR", help="Folder of the pictures.")
@click.option("--indices", callback=parse_indices, metavar="RANGES", help="Such as 0-99,205  [default: all].")
@click.option("--resolution", type=int, metavar="PX", help="Level to take  [default: the largest].")
def extract(file: Path, out: Path, indices: list[int] | None, resolution: int | None) -> None:
    """Write images of a data set FILE as PNG, each named by its place in the file.

    \b
    Example:
      celebahq extract faces.h5 -o pictures --indices 0-9,25 --resolution 256
    """
    from celebahq.extraction import extract_images
    from celebahq.pyramid import PyramidReader

    with PyramidReader(file, threads=1) as reader:
        wanted = indices or range(len(reader))
        with Progress("extract", len(wanted)) as progress:
            extract_images(reader, out, indices=wanted, resolution=resolution, on_image=progress.advance)
    status(f"{out}: {len(wanted):,} pictures")


@main.command()
@click.argument("file", type=FILE)
@click.option("--out", "-o", required=True, type=NEW_PATH, metavar="FILE.png", help="The picture to be.")
@click.option("--indices", callback=parse_indices, metavar="RANGES", help="Such as 0-99,205.")
@click.option(
    "--num",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Without --indices: so many images, evenly spread over the file.",
)
@click.option("--columns", type=click.IntRange(min=1), metavar="N", help="[default: as many as rows]")
@click.option("--resolution", type=int, metavar="PX", help="Level to take  [default: 128 or less].")
@click.option("--overwrite", is_flag=True, help="Replace the picture if it is there.")
def sheet(
    file: Path,
    out: Path,
    indices: list[int] | None,
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
    from celebahq.extraction import write_sheet
    from celebahq.pyramid import PyramidReader

    with PyramidReader(file) as reader:
        shown = write_sheet(
            reader,
            out,
            indices=indices,
            num=num,
            columns=columns,
            resolution=resolution,
            overwrite=overwrite,
        )
    status(f"{out}: {shown} images")


@main.command()
@click.argument("file", type=FILE)
@click.option("--to", "form", required=True, type=click.Choice(["folder", "zip", "tfrecord"]))
@click.option("--out", "-o", required=True, type=NEW_PATH, metavar="PATH", help="Folder or zip to be.")
@click.option("--resolution", type=int, metavar="PX", help="Level of folder and zip  [default: the largest].")
def export(file: Path, form: str, out: Path, resolution: int | None) -> None:
    """Write a data set FILE in a form that other trainers read.

    \b
    folder    PNG files and dataset.json (labels)
    zip       the same in one file, as StyleGAN 2 and 3 read it
    tfrecord  every level, as the TensorFlow versions of progressive GAN and StyleGAN read them

    \b
    Example:
      celebahq export faces.h5 --to zip -o faces-256.zip --resolution 256
    """
    from celebahq.exporting import export_folder, export_tfrecord, export_zip
    from celebahq.pyramid import PyramidReader

    with PyramidReader(file, threads=1) as reader, Progress("export", len(reader)) as progress:
        if form == "tfrecord":
            if resolution:
                raise click.UsageError("--resolution: tfrecord always holds every level")
            export_tfrecord(reader, out, on_image=progress.advance)
        elif form == "zip":
            export_zip(reader, out, resolution=resolution, on_image=progress.advance)
        else:
            export_folder(reader, out, resolution=resolution, on_image=progress.advance)
    status(f"{out}: {len(reader):,} images")
