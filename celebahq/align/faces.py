"""From a photo to the faces in it: found at any roll, their landmarks, and how sure both are.

Source: the crop is that of Karras et al. 2018, appendix C, whose landmarks were annotated by hand.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from celebahq.align.detectors import Detection, YuNet, load_detector
from celebahq.align.geometry import crop_quad, quad_roll, quad_side, turned_quad
from celebahq.align.landmarks import Predictor, UprightPatch, five_landmarks
from celebahq.errors import ToolError

TURNS = (0, 90, 180, 270)
TILTS = (-45, 45)  # Degrees at which YuNet is less sure of a face that stands upright, by 0.04 and more.
CONFIRM_PX = 128.0  # Side of a crop whose face YuNet knows well.
WEAK_SCORE = 0.8  # If no face has more, the photo is turned.
LEAST_SCORE = 0.6  # A face that has less, upright and at a good size, is none.
MOST_LOOKS = 3
MOST_LAST_TURN = 4.0  # Degrees; landmarks that still turn by more have not settled.
MOST_APART = 0.08  # Of the crop's side; detector and predictor agree on faces within 0.05.
SAME_FACE = 0.25  # Quads whose centres are closer, in sides of the larger, are of one face.


@dataclass(frozen=True, eq=False)
class Face:
    """One face in a photo."""

    landmarks: NDArray[np.float64]
    """`(5, 2)` xy pixel indices: left eye, right eye, nose, left and right mouth corner, as seen."""
    score: float
    """YuNet's confidence in the face turned upright and brought to a good size, 0 to 1."""
    detector: str = "yunet"
    """What found it in the photo."""
    turn: int = 0
    """Degrees counter-clockwise by which the photo was turned when the face was found."""
    doubt: str | None = None
    """Why it should be left out; None for a face to keep."""

    @property
    def eye_distance(self) -> float:
        """Distance between the eyes in pixels."""
        return float(np.hypot(*(self.landmarks[1] - self.landmarks[0])))

    @cached_property
    def quad(self) -> NDArray[np.float64]:
        """`(4, 2)` corners of its crop, see `celebahq.crop_quad`."""
        return crop_quad(self.landmarks)

    @property
    def roll(self) -> float:
        """How far it is turned clockwise in the photo, in degrees, -180 to 180."""
        return quad_roll(self.quad)


class FaceFinder:
    """Faces and their landmarks, at any roll."""

    def __init__(self, *, detector: str = "yunet", model: Path | None = None, scale: float = 1.0) -> None:
        """Load the models, about a second.

        Args:
            detector: `yunet`, `hog` or `cnn`.
            model: Another file of YuNet than the one that comes with the toolkit.
            scale: Enlarges the photo for the detector; 2 finds faces half as large, in four times the time.
                Landmarks are placed on the photo itself.

        Raises:
            ToolError: A model's file is missing, or another than it must be.
        """
        self._detector = load_detector(detector, model, scale)
        self._confirming = YuNet(model)
        self._predictor = Predictor()

    def find(self, photo: NDArray[np.uint8]) -> list[Face]:
        """The faces to trust in an `(H, W, 3)` uint8 RGB photo, the one with the widest eyes first.

        Raises:
            ValueError: The photo is not such an array.
        """
        return [face for face in self.look(photo) if face.doubt is None]

    def look(self, photo: NDArray[np.uint8]) -> list[Face]:
        """All that the detector takes for faces, those with a `doubt` too; the widest eyes first.

        The photo is looked at as it is; if nothing in it is clearly a face, also turned to each other side.

        Raises:
            ValueError: The photo is not such an array.
        """
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
            raise ValueError(f"photo: (H, W, 3) uint8 expected, not {photo.shape} {photo.dtype}")
        faces = _one_each(self._faces_at(photo, 0))
        if not any(face.doubt is None and face.score >= WEAK_SCORE for face in faces):
            for turn in TURNS[1:]:
                faces += self._faces_at(photo, turn)
            faces = _one_each(faces)
        return sorted(faces, key=lambda face: face.eye_distance, reverse=True)

    def _faces_at(self, photo: NDArray[np.uint8], turn: int) -> list[Face]:
        turned = np.ascontiguousarray(np.rot90(photo, turn // 90))
        guesses = [
            (found.score, turned_back(self._points(turned, found), turn, *photo.shape[:2]))
            for found in self._detector.detect(turned)
        ]
        faces = (self._face(photo, points, turn) for points in _distinct(guesses))
        return [face for face in faces if face is not None]

    def _points(self, picture: NDArray[np.uint8], found: Detection) -> NDArray[np.float64]:
        """A first guess of a detected face's landmarks."""
        if found.points is not None:
            return found.points
        return five_landmarks(self._predictor.in_box(picture, found.box))

    def _face(self, photo: NDArray[np.uint8], points: NDArray[np.float64], turn: int) -> Face | None:
        """The face at a first guess of its landmarks; None where no crop follows from them.

        Detectors see upside-down faces too, and take them for upright ones; and from a guess that is turned
        by some 30 degrees the predictor may not find back. So the face as it was understood is shown to YuNet
        in all four turns and tilted, and is what YuNet is surest of.
        """
        try:
            for _ in range(MOST_LOOKS):
                landmarks = self._predictor.settle(photo, points)
                quad = crop_quad(landmarks.five)
                patch = UprightPatch(photo, quad, CONFIRM_PX)
                tilted = [UprightPatch(photo, turned_quad(quad, tilt), CONFIRM_PX) for tilt in TILTS]
                looks = [self._confirm(patch, quarter) for quarter in TURNS]
                surest = max(
                    *looks, *(self._confirm(each, 0) for each in tilted), key=lambda look: look.score
                )
                if surest is looks[0] or surest.points is None:
                    break
                points = surest.points
        except ToolError:
            return None
        upright, apart = looks[0], 0.0
        best = max(looks, key=lambda look: look.score)
        if upright.points is not None:
            distance = upright.points - landmarks.five
            apart = float(np.hypot(*distance.T).mean()) / quad_side(crop_quad(landmarks.five))
        doubt = _doubt(upright.score, best.score, landmarks.last_turn, apart)
        return Face(landmarks.five, upright.score, self._detector.name, turn, doubt)

    def _confirm(self, patch: UprightPatch, turn: int) -> "_Look":
        """How sure YuNet is of the face in the middle of a patch turned by `turn`."""
        side = len(patch.picture)
        turned = np.ascontiguousarray(np.rot90(patch.picture, turn // 90))
        middle = (side - 1) / 2
        found = [
            each
            for each in self._confirming.detect(turned)
            if np.hypot(*(each.box.reshape(2, 2).mean(axis=0) - middle)) < SAME_FACE * CONFIRM_PX
        ]
        if not found:
            return _Look(0.0, None)
        best = max(found, key=lambda each: each.score)
        return _Look(best.score, patch.to_photo(turned_back(self._points(turned, best), turn, side, side)))


class _Look(NamedTuple):
    """The score of a face in a patch, 0 for none, and its landmarks in the photo."""

    score: float
    points: NDArray[np.float64] | None


def _doubt(score: float, best: float, last_turn: float, apart: float) -> str | None:
    """Why a face should be left out."""
    if score < LEAST_SCORE:
        return f"turned upright it is hardly a face (score {score:.2f})"
    if score < best:
        return f"which side is up is not clear (score {score:.2f}, turned {best:.2f})"
    if abs(last_turn) > MOST_LAST_TURN:
        return f"its landmarks do not settle (the last turn was {abs(last_turn):.0f} degrees)"
    if apart > MOST_APART:
        return f"detector and landmarks disagree (by {apart:.0%} of the crop's side)"
    return None


def turned_back(points: NDArray[np.float64], turn: int, height: int, width: int) -> NDArray[np.float64]:
    """Pixel indices `(n, 2)` in a photo turned by `turn` degrees counter-clockwise -> in the photo.

    Args:
        points: xy.
        turn: One of `TURNS`.
        height: Of the photo as it is, in pixels.
        width: Of the photo as it is.
    """
    x, y = points.T
    back = {
        0: (x, y),
        90: (width - 1 - y, x),
        180: (width - 1 - x, height - 1 - y),
        270: (y, height - 1 - x),
    }
    return np.column_stack(back[turn])


def _distinct(guesses: list[tuple[float, NDArray[np.float64]]]) -> list[NDArray[np.float64]]:
    """Of first guesses with a score those that are no weaker repeat of another one."""
    kept: list[NDArray[np.float64]] = []
    for _, points in sorted(guesses, key=lambda guess: -guess[0]):
        size = np.ptp(points, axis=0).max()
        if all(np.hypot(*(points.mean(axis=0) - other.mean(axis=0))) > size / 2 for other in kept):
            kept.append(points)
    return kept


def _one_each(faces: Iterable[Face]) -> list[Face]:
    """Of each face the surest look."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (face.doubt is not None, -face.score)):
        if not any(_same(face.quad, other.quad) for other in kept):
            kept.append(face)
    return kept


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    distance = np.hypot(*(one.mean(axis=0) - other.mean(axis=0)))
    return bool(distance < SAME_FACE * max(quad_side(one), quad_side(other)))
