"""`celebahq reconstruct`: the published data set, bit for bit."""

from typing import Any

import click

from celebahq.arguments import FOLDER, NEW_DATA_SET
from celebahq.commands.options import chosen, job_options, parse_indices
from celebahq.console import emit_json, exit_if_skipped, status
from celebahq.options import JobOptions, ReconstructOptions
from celebahq.terminal import on_terminal


@click.command("reconstruct")
@click.option("--celeba-dir", required=True, type=FOLDER, metavar="DIR", help="Holds img_celeba and Anno.")
@click.option("--delta-dir", required=True, type=FOLDER, metavar="DIR", help="image_list.txt and 30 zips.")
@click.option("--out", "-o", required=True, type=NEW_DATA_SET, metavar="FILE.h5", help="The data set to be.")
@click.option("--indices", callback=parse_indices, metavar="RANGES", help="Only these, e.g. 0-99,205.")
@click.option("--strict", is_flag=True, help="Stop at the first image that fails a check.")
@click.option("--skip-self-test", is_flag=True, help="Accept other input than the published files.")
@job_options
def reconstruct_command(skip_self_test: bool, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Rebuild the published CelebA-HQ, bit for bit, from CelebA's photos and the authors' delta files.

    Needs pip install 'celebahq-toolkit[reconstruct]'. Each image is written only if its two published
    checksums hold; the others are listed, also in FILE.h5.report.json. Ended at any moment, the same
    command continues.

    \b
    Example:
      celebahq reconstruct --celeba-dir CelebA --delta-dir deltas -o celeba-hq-1024x1024.h5
    """
    from celebahq.reconstruct import configuration, reconstruct_dataset, report_path

    options = chosen(ReconstructOptions, given, self_test=not skip_self_test, job=chosen(JobOptions, given))
    with on_terminal() as progress:
        if dry_run:
            emit_json(configuration(options))
            return
        report = reconstruct_dataset(options, progress)
    for image in report.failed:
        status(f"not written: {image.orig_file} (image {image.idx}): {image.reason}")
    beside = report_path(options.out).name
    status(f"{options.out}: {report.written:,} images, {len(report.failed):,} failed; see {beside}")
    if as_json:
        emit_json(report.to_json())
    exit_if_skipped(len(report.failed))
