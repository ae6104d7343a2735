"""`celebahq restore`: photos -> restored photos."""

from dataclasses import asdict
from pathlib import Path

import click

from celebahq.arguments import ANY_PATH, NEW_FOLDER, device_option, json_option, overwrite_option
from celebahq.commands.options import require_fitting, restorer_options
from celebahq.console import Progress, counted, emit_json, exit_if_skipped, resolve_device, status, warn
from celebahq.terminal import on_terminal


@click.command()
@click.argument("given", metavar="IMAGE|DIR...", nargs=-1, required=True, type=ANY_PATH)
@click.option("--out", "-o", required=True, type=NEW_FOLDER, metavar="DIR", help="Folder of the results.")
@restorer_options
@click.option("--compare", is_flag=True, help="Also write NAME.compare.png: before and after, side by side.")
@overwrite_option
@device_option
@json_option
def restore(
    given: tuple[Path, ...],
    out: Path,
    jpeg_model: str,
    jpeg_strength: float,
    sr_model: str,
    compare: bool,
    overwrite: bool,
    device: str,
    as_json: bool,
) -> None:
    """Remove JPEG artifacts from photos and enlarge them 4 times.

    Writes DIR/NAME.png for each photo; those of a folder keep their places in it. Results that are there
    are kept, so that the same command goes on; a file of a result's name that is that of another photo or
    other networks, or none, is left alone and the photo skipped. --overwrite replaces both. The networks are
    the two that come with the package (jpeg, sr4x) or weight files of your own; none leaves a stage out.

    \b
    Examples:
      celebahq restore photo.jpg --out restored --compare
      celebahq restore holiday/ --out restored
    """
    from celebahq.restore.infer import load_stage
    from celebahq.restore.likeness import describe_likeness
    from celebahq.restore.photos import photos_of, restore_photos

    require_fitting(jpeg_strength, jpeg_model)
    where = resolve_device(device)
    wanted = [
        load_stage("jpeg_model", jpeg_model, where, strength=jpeg_strength),
        load_stage("sr_model", sr_model, where),
    ]
    stages = [stage for stage in wanted if stage is not None]
    if not stages:
        raise click.UsageError("--jpeg-model none and --sr-model none leave nothing to do")
    with on_terminal():
        photos = photos_of(given, out)
    names = " and ".join(stage.name for stage in stages)
    status(f"{counted(len(photos), 'photo')} through {names} ({stages[0].dtype}) into {out}")
    with Progress("restore", len(photos), unit="photos") as progress:
        outcome = restore_photos(
            photos,
            out,
            stages,
            compare=compare,
            overwrite=overwrite,
            on_photo=lambda skipped: progress.advance(skipped=int(skipped)),
        )
    for untouched in outcome.without_blocks:
        status(f"{untouched}: no JPEG, and no blocks in it; --jpeg-model none would keep all of its detail")
    for photo, reason in outcome.skipped.items():
        warn(f"skipped {photo}: {reason}")
    for photo, found in outcome.likeness.items():
        status(f"{photo} and its result: {describe_likeness(found)}")
    written, skipped = counted(len(outcome.written), "file"), counted(len(outcome.skipped), "photo")
    were = "was" if len(outcome.kept) == 1 else "were"
    kept = f", {len(outcome.kept):,} {were} there already" if outcome.kept else ""
    status(f"{written} written{kept}; {skipped} skipped")
    if as_json:
        emit_json(
            {
                "written": [str(path) for path in outcome.written],
                "kept": [str(path) for path in outcome.kept],
                "skipped": outcome.skipped,
                "without_blocks": [str(path) for path in outcome.without_blocks],
                "likeness": {photo: asdict(found) for photo, found in outcome.likeness.items()},
                "networks": {stage.name: stage.sha256 for stage in stages},
            }
        )
    exit_if_skipped(len(outcome.skipped))
