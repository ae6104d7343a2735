"""A folder of photos of any kind: which files, which faces, which are there twice."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from celebahq.align.faces import FaceFinder
from celebahq.files import sha256_file
from celebahq.pictures.decoding import MAX_PIXELS, RAISE_LIMIT, load_photo
from celebahq.sources.duplicates import earlier_twin, perceptual_hash
from celebahq.sources.records import FaceIndex

MIN_EYE_DISTANCE = 32.0
"""Faces whose eyes are closer, in pixels, are left out unless told otherwise: a crop of 128 pixels."""


@dataclass(frozen=True)
class PhotoFaces:
    """What was found in one photo; JSON-able with `dataclasses.asdict`."""

    name: str
    """Path below the source folder, with `/`."""
    sha256: str
    """Of the file."""
    perceptual_hash: str
    pixels: int
    faces: Sequence[Sequence[Sequence[float]]]
    """Per face its five landmarks (x, y), in the upright photo; the one with the widest eyes first."""
    small_faces: int
    """Faces left out because their eyes are too close together."""

    @property
    def why_none(self) -> str:
        """Why the photo gives no face, in words for people."""
        if self.small_faces == 1:
            return "the only face is too small (--min-eye-distance)"
        if self.small_faces:
            return f"all {self.small_faces} faces are too small (--min-eye-distance)"
        return "no frontal face found"


@dataclass(frozen=True)
class Duplicate:
    """A photo that repeats another one, which is kept."""

    name: str
    kept: str
    exact: bool
    """The same file's bytes; else the same picture saved in another way."""


def find_faces_in(
    folder: Path,
    name: str,
    finder: FaceFinder,
    *,
    min_eye_distance: float = MIN_EYE_DISTANCE,
    max_pixels: int = MAX_PIXELS,
) -> PhotoFaces:
    """Find the faces in one photo, turned as its EXIF orientation says.

    Raises:
        ToolError: The photo cannot be read, or has more pixels than allowed.
    """
    path = folder / name
    photo = load_photo(path, max_pixels=max_pixels, remedy=RAISE_LIMIT)
    found = finder.find(photo)
    faces = [face for face in found if face.eye_distance >= min_eye_distance]
    return PhotoFaces(
        name=name,
        sha256=sha256_file(path),
        perceptual_hash=perceptual_hash(photo),
        pixels=photo.shape[0] * photo.shape[1],
        faces=[face.landmarks.tolist() for face in faces],
        small_faces=len(found) - len(faces),
    )


def find_duplicates(photos: Iterable[PhotoFaces]) -> list[Duplicate]:
    """Photos with faces that repeat another one; of each group the largest stays, of equals the first."""
    ranked = sorted(
        (photo for photo in photos if photo.faces), key=lambda photo: (-photo.pixels, os.fsencode(photo.name))
    )
    twins = earlier_twin([photo.perceptual_hash for photo in ranked])
    duplicates = [
        Duplicate(photo.name, ranked[twin].name, exact=photo.sha256 == ranked[twin].sha256)
        for photo, twin in zip(ranked, twins, strict=True)
        if twin is not None
    ]
    return sorted(duplicates, key=lambda duplicate: os.fsencode(duplicate.name))


def index_photos(
    folder: Path, photos: Iterable[PhotoFaces], duplicates: Iterable[Duplicate] = ()
) -> FaceIndex:
    """One record per face, in the photos' order, without the photos in `duplicates`."""
    repeated = {duplicate.name for duplicate in duplicates}
    faces = [
        (photo.name, landmarks) for photo in photos if photo.name not in repeated for landmarks in photo.faces
    ]
    return FaceIndex(
        folder,
        tuple(name for name, _ in faces),
        np.array([landmarks for _, landmarks in faces], np.float64).reshape(-1, 5, 2),
        orient=True,
    )
