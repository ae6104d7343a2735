"""Which of the faces found in photos a data set takes: those that are sure, whole, and there once."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from celebahq.options import PhotoSource
from celebahq.sources.duplicates import FACE_BITS, NEAR_BITS, earlier_twin
from celebahq.sources.listing import read_list
from celebahq.sources.photos import PhotoFace, PhotoFaces

Chosen = tuple[PhotoFaces, PhotoFace]


class LeftOut(NamedTuple):
    """A photo or a face that is not taken, and why."""

    name: str
    """Of the photo."""
    stage: str
    reason: str
    score: float | None = None
    """The detector's, of a face; None for a whole photo."""
    landmarks: Sequence[Sequence[float]] | None = None


def choose_faces(photos: Sequence[PhotoFaces], source: PhotoSource) -> tuple[list[Chosen], list[LeftOut]]:
    """Take the faces that a source's options ask for, in the photos' order.

    Raises:
        ToolError: The file with names to leave out cannot be read.
    """
    photos, left_out = _without(photos, "choose", read_names(source.exclude))
    if not source.keep_duplicates:
        photos, repeats = _without(photos, "find repeats", _repeated_photos(photos))
        left_out += repeats
    chosen: list[Chosen] = []
    for photo in photos:
        taken = 0
        if not photo.faces:
            left_out.append(LeftOut(photo.name, "find faces", "no face found"))
        for face in photo.faces:
            reason = _objection(face, source) or _surplus(taken, source)
            if reason is None:
                taken += 1
                chosen.append((photo, face))
            else:
                left_out.append(LeftOut(photo.name, "choose", reason, face.score, face.landmarks))
    if not source.keep_duplicates:
        chosen, repeats = _without_repeats(chosen)
        left_out += repeats
    return chosen, sorted(left_out, key=lambda each: os.fsencode(each.name))


def read_names(path: Path | None) -> dict[str, str]:
    """Names in a text file, one a line, as what is to be left out and why.

    Raises:
        ToolError: It is not text.
    """
    return {} if path is None else dict.fromkeys(read_list(path), "named by --exclude")


def unknown_names(path: Path | None, known: Iterable[str]) -> list[str]:
    """Notice of names in a file that are none of a source's photos; empty where there are none."""
    unknown = sorted(read_names(path).keys() - set(known))
    if not unknown:
        return []
    return [
        f"--exclude {path}: {len(unknown):,} of its names are those of no photo: "
        f"{', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''} (names are paths below the photos' "
        "folder)"
    ]


def _without(
    photos: Sequence[PhotoFaces], stage: str, reasons: dict[str, str]
) -> tuple[list[PhotoFaces], list[LeftOut]]:
    kept = [photo for photo in photos if photo.name not in reasons]
    named = [photo for photo in photos if photo.name in reasons]
    return kept, [LeftOut(photo.name, stage, reasons[photo.name]) for photo in named]


def _objection(face: PhotoFace, source: PhotoSource) -> str | None:
    """Why a face is not taken for its own sake."""
    if face.doubt:
        return face.doubt
    if face.eye_distance < source.min_eye_distance:
        return "too small (--min-eye-distance)"
    if face.score < source.min_score:
        return f"the detector's score is {face.score:.2f} (--min-score)"
    if abs(face.roll) > source.max_roll:
        return f"turned by {abs(face.roll):.0f} degrees (--max-roll)"
    if face.outside > source.max_outside:
        return f"{face.outside:.0%} of its crop lies outside the photo (--max-outside)"
    return None


def _surplus(taken: int, source: PhotoSource) -> str | None:
    if source.select == "largest" and taken:
        return "not the largest of its photo (--select largest)"
    if source.max_per_photo is not None and taken >= source.max_per_photo:
        return f"its photo has {taken} larger ones (--max-per-photo)"
    return None


def _repeated_photos(photos: Iterable[PhotoFaces]) -> dict[str, str]:
    """Photos with faces that repeat another one; of each group the largest stays, of equals the first."""
    ranked = sorted(
        (photo for photo in photos if photo.faces), key=lambda photo: (-photo.pixels, os.fsencode(photo.name))
    )
    twins = earlier_twin([photo.perceptual_hash for photo in ranked], NEAR_BITS)
    return {
        photo.name: f"the same {'file' if photo.sha256 == ranked[twin].sha256 else 'picture'} as "
        f"{ranked[twin].name}"
        for photo, twin in zip(ranked, twins, strict=True)
        if twin is not None
    }


def _without_repeats(chosen: Sequence[Chosen]) -> tuple[list[Chosen], list[LeftOut]]:
    """Leave out faces that are another one's copy, cropped, mirrored or turned; the larger stays."""
    order = sorted(range(len(chosen)), key=lambda i: (-chosen[i][1].eye_distance, i))
    twins = earlier_twin([chosen[i][1].crop_hash for i in order], FACE_BITS)
    repeats: dict[int, LeftOut] = {}
    for position, twin in zip(order, twins, strict=True):
        if twin is not None:
            photo, face = chosen[position]
            reason = f"the same face as in {chosen[order[twin]][0].name}"
            repeats[position] = LeftOut(photo.name, "find repeats", reason, face.score, face.landmarks)
    kept = [each for position, each in enumerate(chosen) if position not in repeats]
    return kept, list(repeats.values())
