"""From a CelebA photo and its landmarks to the aligned 1024x1024 image, as published."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celebahq.errors import ToolError
from celebahq.legacy.jpeg import MAX_PIXELS, decode_jpeg
from celebahq.legacy.lanczos import resize
from celebahq.legacy.padding import Pads, pad_photo
from celebahq.legacy.quad import transform_quad

SIDE = 1024
SUPERSAMPLED_SIDE = 4096
MAX_ZOOM = 256.0
"""Of a face four pixels wide: what bounds the memory for enlarging it."""

f32 = np.float32


class Framed(NamedTuple):
    """A picture and the face in it."""

    image: NDArray[np.uint8]
    """`[H, W, 3]` RGB."""
    quad: NDArray[np.float32]
    """`[4, 2]` corners of the crop in this picture: upper left, lower left, lower right, upper right."""
    zoom: float
    """Enlargement from this picture to the 1024-pixel result."""


def legacy_align(jpeg_path: str | Path, landmarks: ArrayLike) -> NDArray[np.uint8]:
    """The aligned face whose CHW bytes have the published `proc_md5`.

    Args:
        jpeg_path: An in-the-wild JPEG; EXIF orientation is ignored, as CelebA's annotators did.
        landmarks: `(5, 2)` pixel indices (x, y): left eye, right eye, nose, left and right mouth corner.

    Returns:
        `(1024, 1024, 3)` uint8 RGB.

    Raises:
        FormatError: The file is not a whole RGB or grey JPEG.
        MissingExtraError: `jpeglib` is needed and not installed.
        ToolError: The landmarks give no crop.
    """
    quad, zoom = landmark_quad(landmarks)
    face = Framed(decode_jpeg(Path(jpeg_path)), quad, zoom)
    face = shrink(face)
    border_px = max(round(SIDE * 0.1 / face.zoom), 3)
    face = crop(face, border_px)
    face = enlarge(face)
    face = pad(face, border_px)
    return resize(transform_quad(face.image, face.quad + f32(0.5), SUPERSAMPLED_SIDE), SIDE, SIDE)


def landmark_quad(landmarks: ArrayLike) -> tuple[NDArray[np.float32], float]:
    """The oriented square around a face and the enlargement that makes it 1024 pixels wide.

    The formula is `crop_quad`'s; the arithmetic is that of a time when float32 scalars times Python numbers
    were float64, and float32 arrays times Python numbers float32.
    """
    points = np.asarray(landmarks, f32)
    if points.shape != (5, 2):
        raise ValueError(f"landmarks: shape {points.shape}, expected (5, 2)")
    eye_left, eye_right, _nose, mouth_left, mouth_right = points
    eye_center = (eye_left + eye_right) * f32(0.5) + f32(0.5)
    mouth_center = (mouth_left + mouth_right) * f32(0.5) + f32(0.5)
    eye_to_eye = eye_right - eye_left
    eye_to_mouth = mouth_center - eye_center
    x = eye_to_eye - _rotate90(eye_to_mouth)
    if not 0 < _hypot(x) < MAX_PIXELS:
        raise ToolError(f"landmarks {points.tolist()}", "no crop follows from them")
    x /= _hypot(x)
    x *= f32(max(float(_hypot(eye_to_eye)) * 2.0, float(_hypot(eye_to_mouth)) * 1.8))
    y = _rotate90(x)
    center = eye_center + eye_to_mouth * f32(0.1)
    quad = np.stack([center - x - y, center - x + y, center + x + y, center + x - y])
    zoom = SIDE / (float(_hypot(x)) * 2)
    if zoom > MAX_ZOOM:
        raise ToolError(
            f"landmarks {points.tolist()}", f"a crop of {SIDE / zoom:.1f} pixels is too small to enlarge"
        )
    return quad, zoom


def shrink(face: Framed) -> Framed:
    """Reduce a photo whose face is at least twice as large as the result, by a whole factor."""
    factor = math.floor(0.5 / face.zoom)
    if factor <= 1:
        return face
    height, width = face.image.shape[:2]
    if min(width, height) < factor:
        raise ToolError(f"a crop of {SIDE / face.zoom:.0f} pixels in a photo of {width}x{height}")
    image = resize(face.image, round(width / factor), round(height / factor))
    return Framed(image, face.quad / f32(factor), face.zoom * factor)


def crop(face: Framed, border_px: int) -> Framed:
    """Cut to the quad's bounding box and a border, as far as the photo reaches."""
    left, top, right, bottom = _bounds(face.quad)
    height, width = face.image.shape[:2]
    left, top = max(left - border_px, 0), max(top - border_px, 0)
    right, bottom = min(right + border_px, width), min(bottom + border_px, height)
    if left >= right or top >= bottom:
        raise ToolError(f"the landmarks' crop lies outside the photo of {width}x{height} pixels")
    return face._replace(
        image=face.image[top:bottom, left:right], quad=face.quad - np.array([left, top], f32)
    )


def enlarge(face: Framed) -> Framed:
    """Enlarge a small face by the power of two that takes it to 1024 pixels or more."""
    factor = 2 ** max(math.ceil(math.log2(face.zoom)), 0)
    if factor <= 1:
        return face
    height, width = face.image.shape[:2]
    image = resize(face.image, width * factor, height * factor)
    return Framed(image, face.quad * f32(factor), face.zoom / factor)


def pad(face: Framed, border_px: int) -> Framed:
    """Continue the photo where the crop leaves it, or nearly so."""
    left, top, right, bottom = _bounds(face.quad)
    height, width = face.image.shape[:2]
    edges = [max(overhang + border_px, 0) for overhang in (-left, -top, right - width, bottom - height)]
    if max(edges) <= border_px - 4:  # never, for the tiny faces whose border is 3
        return face
    least = round(SIDE * 0.3 / face.zoom)
    pads = Pads(*(max(edge, least) for edge in edges))
    image = pad_photo(face.image, pads, sigma=SIDE * 0.02 / face.zoom)
    return face._replace(image=image, quad=face.quad + np.array(pads[:2], f32))


def _bounds(quad: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the whole pixels that hold the quad."""
    (left, top), (right, bottom) = quad.min(axis=0), quad.max(axis=0)
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


def _rotate90(v: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.array([-v[1], v[0]], f32)


def _hypot(v: NDArray[np.float32]) -> np.float32:
    # The C library's hypotf: the squares fit a double, so one rounding there and one to float32.
    return f32(math.sqrt(float(v[0]) ** 2 + float(v[1]) ** 2))
