"""Restore photo files: read, remove JPEG artifacts, enlarge, write."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from celebahq.align.blocks import block_artifacts, enlarged_blocks
from celebahq.errors import ToolError
from celebahq.files import sha256_file
from celebahq.pictures.decoding import load_photo, open_picture
from celebahq.pictures.encoding import read_note, save_png
from celebahq.restore.infer import Photo, Restorer
from celebahq.restore.likeness import Likeness, measure_likeness
from celebahq.sources.listing import find_photos

log = logging.getLogger(__name__)

MAX_RESULT_PIXELS = 1 << 28
"""Largest picture that is made: 268 million pixels, 0.8 GB."""
MADE_HERE = "celebahq restore."
"""How a result's note begins."""
JPEG_START = b"\xff\xd8\xff"
FAINT_BLOCKS, FAINT_ENLARGED_BLOCKS = 0.3, 1.0
"""Grey levels that photos without compression stay below."""


@dataclass
class RestoreOutcome:
    """What became of the photos."""

    written: list[Path] = field(default_factory=list)
    """Results and comparisons."""
    kept: list[Path] = field(default_factory=list)
    """Those that were there already."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Reason by photo."""
    without_blocks: list[Path] = field(default_factory=list)
    """Photos that are no JPEG files and show no blocks, though JPEG artifacts were to be removed."""
    likeness: dict[str, Likeness] = field(default_factory=dict)
    """By photo, of the result and the photo at its size; of those that were compared in this run."""


def photos_of(given: Sequence[Path], out: Path) -> dict[Path, Path]:
    """The photos that paths stand for, each with its result's name below `out`, without an ending.

    Args:
        given: Picture files, and folders of them, in which results keep their places.
        out: The results' folder; the results of earlier runs in it are no photos.

    Raises:
        ToolError: A folder holds no photos, or cannot be read.
    """
    photos: dict[Path, Path] = {}
    for path in given:
        if not path.is_dir():
            photos[path] = Path(path.stem)
            continue
        names = find_photos(path)
        found = {
            path / name: Path(name).with_suffix("") for name in names if not _is_result(path / name, out)
        }
        if not found:
            raise ToolError(path, f"holds no photos, only results of earlier runs ({len(names):,})")
        if len(found) < len(names):
            log.info("%s: %s results of earlier runs are left out", path, f"{len(names) - len(found):,}")
        photos |= found
    return photos


def _is_result(path: Path, out: Path) -> bool:
    """Whether a run has put a picture below its folder of results."""
    below = path.resolve().is_relative_to(out.resolve())
    return below and path.is_file() and read_note(path).startswith(MADE_HERE)


def restore_photos(
    photos: Mapping[Path, Path],
    out: Path,
    stages: Sequence[Restorer],
    *,
    compare: bool = False,
    overwrite: bool = False,
    on_photo: Callable[[bool], None] = lambda skipped: None,
) -> RestoreOutcome:
    """Run photos through the stages and write a PNG file for each.

    A photo that cannot be read, or whose result would be too large, is skipped. Each result has a note of
    its photo and networks: one that is there already is kept, and for another file in its place the photo is
    skipped.

    Args:
        photos: As `photos_of` gives them.
        out: Folder of the results, made where missing.
        stages: The networks, in order.
        compare: Write `NAME.compare.png` too: the photo, enlarged by Lanczos, beside the result.
        overwrite: Replace files that are there.
        on_photo: Called after each photo with whether it was skipped.

    Raises:
        ToolError: Two photos would get the same result, or a result would replace a photo.
    """
    plan = _plan(photos, out, compare=compare)
    outcome = RestoreOutcome()
    for photo, targets in plan.items():
        try:
            note = _note(photo, stages)
            kept = [] if overwrite else _results_there(targets, note)
            missing = [path for path in targets if path not in kept]
            if missing:
                _restore(photo, missing, targets[0], stages, note, outcome)
        except ToolError as err:
            outcome.skipped[str(photo)] = err.beside(photo)
        else:
            outcome.kept += kept
            outcome.written += missing
        on_photo(str(photo) in outcome.skipped)
    return outcome


def _note(photo: Path, stages: Sequence[Restorer]) -> str:
    """What a result is made of; it stands in the result's file."""
    try:
        with open_picture(photo):  # which refuses pipes: one would be read for ever
            digest = sha256_file(photo)
    except OSError as err:
        raise ToolError(photo, err.strerror or str(err)) from err
    networks = ", ".join(stage.sha256 for stage in stages)
    return f"{MADE_HERE} SHA-256 of the photo: {digest}; of the networks: {networks}"


def _results_there(targets: Sequence[Path], note: str) -> list[Path]:
    """Those of a photo's results that are there.

    Raises:
        ToolError: A file in a result's place is none.
    """
    there = [path for path in targets if path.exists()]
    for path in there:
        if read_note(path) != note:
            raise ToolError(
                path,
                "exists already, and is not the result of this photo and these networks; choose another "
                "--out, or pass --overwrite to replace it",
            )
    return there


def _restore(
    photo: Path,
    missing: Sequence[Path],
    result: Path,
    stages: Sequence[Restorer],
    note: str,
    outcome: RestoreOutcome,
) -> None:
    """Write what is missing of the result and the comparison."""
    before = load_photo(photo)
    after = apply_stages(before, stages)
    if stages[0].scale == 1 and not was_compressed(photo, before):
        outcome.without_blocks.append(photo)
    for path in missing:
        if path == result:
            save_png(path, after, note=note)
        else:
            resized = at_size_of(after, before)
            save_png(path, np.concatenate([resized, after], axis=1), note=note)
            outcome.likeness[str(photo)] = measure_likeness(resized, after)


def _plan(photos: Mapping[Path, Path], out: Path, *, compare: bool) -> dict[Path, list[Path]]:
    """The files to make from each photo: the result, then the comparison.

    Raises:
        ToolError: Two would be one, or one a photo itself.
    """
    owners: dict[Path, Path] = {}
    given = {photo.resolve() for photo in photos}
    plan: dict[Path, list[Path]] = {}
    for photo, name in photos.items():
        plan[photo] = [out / f"{name}{ending}" for ending in (".png", ".compare.png")[: 1 + compare]]
        for target in plan[photo]:
            if target.resolve() in given:
                raise ToolError(target, "a photo itself, which would be replaced; choose another --out")
            if target in owners:
                raise ToolError(
                    f"{photo} and {owners[target]}", f"both would become {target}; rename one of them"
                )
            owners[target] = photo
    return plan


def apply_stages(photo: Photo, stages: Sequence[Restorer]) -> Photo:
    """Run the networks one after the other.

    Raises:
        ToolError: The result would have more than `MAX_RESULT_PIXELS`.
    """
    height, width = photo.shape[:2]
    for stage in stages:
        height, width = height * stage.scale, width * stage.scale
    if height * width > MAX_RESULT_PIXELS:
        raise ToolError(
            f"the result would have {width}x{height} pixels, more than {MAX_RESULT_PIXELS:,}; "
            "leave the enlargement out (--sr-model none)"
        )
    for stage in stages:
        photo = stage(photo)
    return photo


def was_compressed(path: Path, photo: Photo) -> bool:
    """Whether a file is a JPEG, or its picture shows the blocks of one."""
    with path.open("rb") as file:
        is_jpeg = file.read(len(JPEG_START)) == JPEG_START
    return is_jpeg or block_artifacts(photo) > FAINT_BLOCKS or enlarged_blocks(photo) > FAINT_ENLARGED_BLOCKS


def at_size_of(after: Photo, before: Photo) -> Photo:
    """The photo, enlarged by Lanczos where its result is larger."""
    if before.shape == after.shape:
        return before
    height, width = after.shape[:2]
    return np.asarray(cv2.resize(before, (width, height), interpolation=cv2.INTER_LANCZOS4), np.uint8)
