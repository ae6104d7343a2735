"""The `celebahq` command: one function per command, each one library call."""

from pathlib import Path

import click

from celebahq.console import (
    ANY_PATH,
    FOLDER,
    NEW_PATH,
    Progress,
    ToolGroup,
    device_option,
    emit_json,
    exit_if_skipped,
    json_option,
    parse_indices,
    resolve_device,
    status,
    workers_option,
)


@click.group(cls=ToolGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="celebahq-toolkit")
def main() -> None:
    """Rebuild CelebA-HQ from in-the-wild photos, and make data sets like it from any folder."""


@main.command()
@click.argument("photos", metavar="IMAGE...", nargs=-1, required=True, type=ANY_PATH)
@click.option("--out", required=True, type=NEW_PATH, metavar="DIR", help="Folder of the results.")
@click.option("--jpeg-model", default="jpeg", show_default=True, metavar="NAME|PATH|none")
@click.option("--sr-model", default="sr4x", show_default=True, metavar="NAME|PATH|none")
@click.option(
    "--sr-alpha",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="sr4x: 1 is the adversarial network, 0 the one of least error, which invents nothing.",
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
@workers_option
@json_option
def reconstruct(
    celeba_dir: Path,
    delta_dir: Path,
    out: Path,
    indices: list[int] | None,
    strict: bool,
    skip_self_test: bool,
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
    from celebahq.reconstruct import ReconstructOptions, reconstruct, report_path

    report = reconstruct(
        ReconstructOptions(
            celeba_dir=celeba_dir,
            delta_dir=delta_dir,
            out=out,
            indices=indices,
            strict=strict,
            self_test=not skip_self_test,
            workers=workers,
        )
    )
    for name, reason in report.failed.items():
        status(f"not written: {name}: {reason}")
    status(f"{out}: {report.written:,} images, {len(report.failed):,} failed; see {report_path(out).name}")
    if as_json:
        emit_json(report.to_json())
    exit_if_skipped(len(report.failed))
