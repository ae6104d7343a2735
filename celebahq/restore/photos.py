"""Restore photo files: read, remove JPEG artifacts, enlarge, write."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from celebahq.align.blocks import block_artifacts, enlarged_blocks
from celebahq.errors import ToolError
from celebahq.pictures.decoding import load_photo
from celebahq.pictures.encoding import save_png
from celebahq.restore.infer import Photo, Restorer
from celebahq.restore.likeness import Likeness, measure_likeness
from celebahq.sources.listing import find_photos

MAX_RESULT_PIXELS = 1 << 28
"""Largest picture that is made: 268 million pixels, 0.8 GB."""
JPEG_START = b"\xff\xd8\xff"
FAINT_BLOCKS, FAINT_ENLARGED_BLOCKS = 0.3, 1.0
"""Grey levels that photos without compression stay below."""


@dataclass
class RestoreOutcome:
    """What became of the photos."""

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    """Results that were there already."""
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
        out: The results' folder; what lies in it is no photo.

    Raises:
        ToolError: A folder holds no photos, or cannot be read.
    """
    photos: dict[Path, Path] = {}
    for path in given:
        if not path.is_dir():
            photos[path] = Path(path.stem)
            continue
        for name in find_photos(path):
            if not (path / name).resolve().is_relative_to(out.resolve()):
                photos[path / name] = Path(name).with_suffix("")
    return photos


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

    A photo that cannot be read, or whose result would be too large, is skipped; a file that is there already
    is kept.

    Args:
        photos: As `photos_of` gives them.
        out: Folder of the results, made where missing.
        stages: The networks, in order.
        compare: Write `NAME.compare.png` too: the photo, enlarged by Lanczos, beside the result.
        overwrite: Replace results that are there.
        on_photo: Called after each photo with whether it was skipped.

    Raises:
        ToolError: Two photos would get the same result, or a result would replace a photo.
    """
    results = _plan(photos, out, compare=compare)
    outcome = RestoreOutcome()
    for photo, targets in results.items():
        missing = [path for path in targets if overwrite or not path.exists()]
        skipped = False
        if not missing:
            outcome.kept.append(targets[0])
        else:
            try:
                before = load_photo(photo)
                if stages[0].scale == 1 and not was_compressed(photo, before):
                    outcome.without_blocks.append(photo)
                after = apply_stages(before, stages)
                for path in missing:
                    if path == targets[0]:
                        save_png(path, after)
                    else:
                        resized = at_size_of(after, before)
                        save_png(path, np.concatenate([resized, after], axis=1))
                        outcome.likeness[str(photo)] = measure_likeness(resized, after)
            except ToolError as err:
                outcome.skipped[str(photo)] = err.beside(photo)
                skipped = True
            else:
                outcome.written.append(targets[0])
        on_photo(skipped)
    return outcome


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
