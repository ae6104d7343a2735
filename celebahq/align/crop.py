"""From a photo and a face's landmarks to the aligned square image.

The steps are separate, since restoration networks may work on the photo between them:
`plan_crop` (which part of the photo is needed) -> `CropPlan.cut` -> `CropPlan.reduce` -> `enlarge` ->
`finish_crop` (pad, warp, box-filter). `align_face` is all of them without networks.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from celebahq.align.geometry import crop_quad, quad_side
from celebahq.align.padding import pad_and_blend
from celebahq.errors import ToolError

LARGE_SIDE = 4096  # Crops from this side on are reduced to half of it or a little more.
SMALLEST_SIDE = 4.0  # Below, there is no face; the enlargement would have no bound.
STRIP_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class CropPlan:
    """Which part of a photo one face's crop needs, in the photo's own pixels."""

    quad: NDArray[np.float64]
    """`(4, 2)` corners in the photo's pixel-edge coordinates."""
    left: int
    """The region is columns `left` to `right`, rows `top` to `bottom`, ends excluded."""
    top: int
    right: int
    bottom: int
    shrink: int
    """Integer by which the region is reduced before anything else; it divides the region's sides."""
    border: int
    """Margin around the quad, in pixels of the reduced region."""

    @property
    def side(self) -> float:
        """Side of the crop in pixels of the reduced region."""
        return quad_side(self.quad) / self.shrink

    def cut(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The region, a view of the `(H, W, 3)` photo at its own resolution."""
        return photo[self.top : self.bottom, self.left : self.right]

    def reduce(self, region: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The region that `cut` gave, its means over `shrink` x `shrink` pixels."""
        if self.shrink == 1:
            return region
        size = (region.shape[1] // self.shrink, region.shape[0] // self.shrink)
        return np.asarray(cv2.resize(region, size, interpolation=cv2.INTER_AREA))

    def quad_in_region(self, factor: int = 1) -> NDArray[np.float64]:
        """The quad in pixels of the reduced region, after enlarging that by `factor`."""
        return (self.quad - [self.left, self.top]) * (factor / self.shrink)


def plan_crop(height: int, width: int, landmarks: ArrayLike) -> CropPlan:
    """Decide which part of a photo a crop needs.

    Args:
        height: Of the photo, in pixels.
        width: Of the photo, in pixels.
        landmarks: `(5, 2)` xy pixel indices, see `crop_quad`.

    Raises:
        ToolError: The crop lies outside the photo, or is too small to be a face.

    Source: Karras et al. 2018, appendix C; the region's border is 0.1 of the crop's side.
    """
    quad = crop_quad(landmarks)
    side = quad_side(quad)
    if side < SMALLEST_SIDE:
        raise ToolError(f"the face's crop is only {side:.1f} pixels wide")
    shrink = max(math.floor(side / (LARGE_SIDE // 2)), 1) if side >= LARGE_SIDE else 1
    border = max(round(0.1 * side / shrink), 3)

    # In pixels of the reduced photo, so that the region's sides are multiples of the factor.
    limit = np.array([width // shrink, height // shrink])
    left_top = np.maximum(np.floor(quad.min(axis=0) / shrink) - border, 0)
    right_bottom = np.minimum(np.ceil(quad.max(axis=0) / shrink) + border, limit)
    if (left_top >= right_bottom).any():
        raise ToolError(f"the face's crop lies outside the photo of {width}x{height} pixels")
    left, top = (int(value) * shrink for value in left_top)
    right, bottom = (int(value) * shrink for value in right_bottom)
    return CropPlan(quad, left, top, right, bottom, shrink, border)


def enlargement(side: float, resolution: int) -> int:
    """The power of two by which a crop of `side` pixels is enlarged to reach `resolution`; 1 if it does."""
    return 1 << max(math.ceil(math.log2(resolution / side)), 0)


def enlarge(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Enlarge an `(H, W, 3)` uint8 picture by an integer factor with Lanczos' filter."""
    if factor == 1:
        return picture
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def finish_crop(
    picture: NDArray[np.uint8], plan: CropPlan, factor: int, resolution: int
) -> NDArray[np.uint8]:
    """Pad, warp and filter a region that may have been restored.

    Args:
        picture: `(H, W, 3)` uint8: the plan's region, cut, reduced, and enlarged by `factor`.
        plan: Where the crop lies.
        factor: Enlargement of the picture since `CropPlan.reduce`.
        resolution: Side of the result; a power of two, at most 2048.
    """
    expected = tuple(
        length * factor // plan.shrink for length in (plan.bottom - plan.top, plan.right - plan.left)
    )
    if picture.shape != (*expected, 3) or picture.dtype != np.uint8:
        raise ValueError(f"picture must be uint8 {(*expected, 3)}, not {picture.dtype} {picture.shape}")
    padded, quad = pad_and_blend(picture, plan.quad_in_region(factor), plan.border)
    return warp_quad(padded, quad, resolution)


def align_face(image: NDArray[np.uint8], landmarks: ArrayLike, resolution: int = 1024) -> NDArray[np.uint8]:
    """The aligned square image of one face.

    A picture whose crop is smaller than the target is enlarged by Lanczos by a power of two first.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        landmarks: `(5, 2)` xy pixel indices, see `crop_quad`.
        resolution: Side of the result; a power of two, at most 2048.

    Returns:
        `(resolution, resolution, 3)` uint8 RGB.

    Raises:
        ValueError: An argument has another shape or type.
        ToolError: No crop follows from the landmarks.

    Source: Karras et al. 2018, appendix C.

    >>> import celebahq, skimage
    >>> photo = skimage.data.astronaut()
    >>> [face] = celebahq.find_faces(photo)
    >>> celebahq.align_face(photo, face.landmarks, resolution=128).shape
    (128, 128, 3)
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    plan = plan_crop(image.shape[0], image.shape[1], landmarks)
    factor = enlargement(plan.side, resolution)
    picture = enlarge(plan.reduce(plan.cut(image)), factor)
    return finish_crop(picture, plan, factor, resolution)


def warp_quad(picture: NDArray[np.uint8], quad: NDArray[np.float64], resolution: int) -> NDArray[np.uint8]:
    """Sample a quad bilinearly at 4096x4096 points (8192 for 2048), then take box means.

    The quad is a rotated square, so the map is affine. It is evaluated in strips that fit into the cache:
    the large image never exists.

    Args:
        picture: `(H, W, 3)` uint8; its edge pixels continue outside.
        quad: `(4, 2)` corners in pixel-edge coordinates.
        resolution: Side of the result; a power of two, at most 2048.
    """
    if resolution not in {1 << k for k in range(12)}:
        raise ValueError(f"resolution must be a power of two up to 2048, not {resolution}")
    fine = max(4096, 4 * resolution)
    box = fine // resolution
    step_x = (quad[3] - quad[0]) / fine
    step_y = (quad[1] - quad[0]) / fine
    # Centre of the first fine pixel; OpenCV counts from the centre of the picture's first pixel.
    origin = quad[0] + (step_x + step_y) / 2 - 0.5

    rows = max(STRIP_BYTES // (3 * fine * box), 1)
    result = np.empty((resolution, resolution, 3), np.uint8)
    for start in range(0, resolution, rows):
        count = min(rows, resolution - start)
        matrix = np.column_stack([step_x, step_y, origin + start * box * step_y])
        strip = cv2.warpAffine(
            picture,
            matrix,
            (fine, count * box),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        result[start : start + count] = cv2.resize(strip, (resolution, count), interpolation=cv2.INTER_AREA)
    return result
