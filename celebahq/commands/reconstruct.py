"""`celebahq reconstruct`: the published data set, bit for bit."""

from pathlib import Path

import click

from celebahq.commands.options import job_options, parse_indices
from celebahq.console import FOLDER, NEW_FILE, emit_json, exit_if_skipped, status


@click.command()
@click.option("--celeba-dir", required=True, type=FOLDER, metavar="DIR", help="Holds img_celeba and Anno.")
@click.option("--delta-dir", required=True, type=FOLDER, metavar="DIR", help="image_list.txt and 30 zips.")
@click.option("--out", "-o", required=True, type=NEW_FILE, metavar="FILE.h5", help="The data set to be.")
@click.option("--indices", callback=parse_indices, metavar="RANGES", help="Only these, e.g. 0-99,205.")
@click.option("--strict", is_flag=True, help="Stop at the first image that fails a check.")
@click.option("--skip-self-test", is_flag=True, help="Accept other input than the published files.")
@job_options
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
    from celebahq.reconstruct import ReconstructOptions, configuration, reconstruct, report_path

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
        emit_json(configuration(options))
        return
    report = reconstruct(options)
    for image in report.failed:
        status(f"not written: {image.orig_file} (image {image.idx}): {image.reason}")
    status(f"{out}: {report.written:,} images, {len(report.failed):,} failed; see {report_path(out).name}")
    if as_json:
        emit_json(report.to_json())
    exit_if_skipped(len(report.failed))
