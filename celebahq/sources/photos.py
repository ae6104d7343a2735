"""A folder of photos of any kind: which faces are in each photo."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from celebahq.align.faces import Face, FaceFinder
from celebahq.align.geometry import outside_share
from celebahq.files import sha256_file
from celebahq.pictures.decoding import MAX_PIXELS, RAISE_LIMIT, load_photo
from celebahq.sources.duplicates import face_hash, perceptual_hash
from celebahq.sources.records import FaceIndex

WHOLE = 0.06
"""Of the side: by how much a crop's corners may be off its photo's; landmarks move them by 0.01 to 0.03."""


@dataclass(frozen=True)
class PhotoFace:
    """A face in a photo; JSON-able with `dataclasses.asdict`."""

    landmarks: Sequence[Sequence[float]]
    """Five points (x, y), in the upright photo."""
    eye_distance: float
    """Pixels."""
    score: float
    """The detector's, for the face turned upright."""
    turn: int
    """Degrees counter-clockwise by which the photo was turned when it was found."""
    roll: float
    """Degrees clockwise by which it is turned in the photo."""
    outside: float
    """Share of the crop that lies outside the photo."""
    crop_hash: str
    """Of the aligned face, see `celebahq.sources.duplicates.face_hash`."""
    doubt: str | None
    """Why it is not to be trusted."""
    whole: bool = False
    """Its crop is the photo itself: it was aligned before."""


@dataclass(frozen=True)
class PhotoFaces:
    """What was found in one photo; JSON-able with `dataclasses.asdict`."""

    name: str
    """Path below the source folder, with `/`."""
    sha256: str
    """Of the file."""
    perceptual_hash: str
    pixels: int
    faces: Sequence[PhotoFace]
    """The one with the widest eyes first; doubtful ones too."""

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` gave."""
        return cls(**{**facts, "faces": [PhotoFace(**face) for face in facts["faces"]]})


def find_faces_in(folder: Path, name: str, finder: FaceFinder, *, max_pixels: int = MAX_PIXELS) -> PhotoFaces:
    """Find the faces in one photo, turned as its EXIF orientation says.

    Raises:
        ToolError: The photo cannot be read, or has more pixels than allowed.
    """
    path = folder / name
    photo = load_photo(path, max_pixels=max_pixels, remedy=RAISE_LIMIT)
    return PhotoFaces(
        name=name,
        sha256=sha256_file(path),
        perceptual_hash=perceptual_hash(photo),
        pixels=photo.shape[0] * photo.shape[1],
        faces=[_facts(face, photo) for face in finder.look(photo)],
    )


def _facts(face: Face, photo: NDArray[np.uint8]) -> PhotoFace:
    return PhotoFace(
        landmarks=face.landmarks.tolist(),
        eye_distance=face.eye_distance,
        score=face.score,
        turn=face.turn,
        roll=face.roll,
        outside=outside_share(face.quad, *photo.shape[:2]),
        crop_hash=face_hash(photo, face.quad),
        doubt=face.doubt,
        whole=_is_whole(face.quad, *photo.shape[:2]),
    )


def _is_whole(quad: NDArray[np.float64], height: int, width: int) -> bool:
    corners = np.array([[0, 0], [0, height], [width, height], [width, 0]])
    return height == width and bool(np.hypot(*(quad - corners).T).max() < WHOLE * width)


def index_photos(folder: Path, found: Sequence[tuple[PhotoFaces, PhotoFace]], detector: str) -> FaceIndex:
    """One record per face, in the given order."""
    landmarks = np.array([face.landmarks for _, face in found], np.float64).reshape(-1, 5, 2)
    return FaceIndex(
        folder,
        tuple(photo.name for photo, _ in found),
        landmarks,
        orient=True,
        facts={
            "photo_sha256": np.array([photo.sha256 for photo, _ in found], object),
            "detector": np.full(len(found), detector, object),
            "detector_score": np.array([face.score for _, face in found], np.float64),
            "detector_turn": np.array([face.turn for _, face in found], np.int64),
        },
    )
