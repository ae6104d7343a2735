"""From five facial landmarks to the oriented square that becomes the image; numpy only."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celebahq.errors import ToolError


def crop_quad(landmarks: ArrayLike) -> NDArray[np.float64]:
    """The oriented square around a face.

    Args:
        landmarks: `(5, 2)` xy pixel indices: left eye, right eye, nose, left and right mouth corner, as seen
            in the picture. The nose is not used.

    Returns:
        `(4, 2)` float64 xy of the corners upper-left, lower-left, lower-right, upper-right, in pixel-edge
        coordinates: the photo's top left corner is (0, 0), the centre of its first pixel (0.5, 0.5).

    Raises:
        ValueError: Not five points.
        ToolError: The points are not finite, or coincide so that no square follows from them.

    Source: Karras et al. 2018, appendix C.

    >>> import celebahq
    >>> celebahq.crop_quad([[90, 100], [110, 100], [100, 110], [92, 120], [108, 120]]).tolist()
    [[60.5, 62.5], [60.5, 142.5], [140.5, 142.5], [140.5, 62.5]]
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (5, 2):
        raise ValueError(f"landmarks must be (5, 2), not {points.shape}")
    if not np.isfinite(points).all():
        raise ToolError("the landmarks hold values that are not finite numbers")

    left_eye, right_eye, _, left_mouth, right_mouth = points + 0.5  # centres of the named pixels
    eyes = (left_eye + right_eye) / 2
    across = right_eye - left_eye
    up = eyes - (left_mouth + right_mouth) / 2
    centre = eyes - 0.1 * up
    side = max(4.0 * np.hypot(*across), 3.6 * np.hypot(*up))

    direction = across + _rotate90(up)
    length = np.hypot(*direction)
    if not length > 1e-9 * side:
        raise ToolError("the landmarks coincide or cancel out; no crop follows from them")
    x = direction / length * (side / 2)
    y = _rotate90(x)
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def quad_side(quad: NDArray[np.float64]) -> float:
    """Length of a quad's upper edge, in pixels."""
    return float(np.hypot(*(quad[3] - quad[0])))


def _rotate90(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([-vector[1], vector[0]])


def quad_roll(quad: NDArray[np.float64]) -> float:
    """How far a quad's upper edge is turned clockwise from the horizontal, in degrees, -180 to 180."""
    across = quad[3] - quad[0]
    return float(np.degrees(np.arctan2(across[1], across[0])))


def turned_quad(quad: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """A quad turned clockwise about its middle."""
    angle, middle = np.radians(degrees), quad.mean(axis=0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray((quad - middle) @ turn + middle)


def outside_share(quad: NDArray[np.float64], height: int, width: int) -> float:
    """The share of a quad's area that lies outside a photo of `height` x `width` pixels, 0 to 1."""
    inside = quad
    for axis, sign, limit in ((0, 1, 0), (0, -1, -width), (1, 1, 0), (1, -1, -height)):
        inside = _clipped(inside, sign * inside[:, axis] - limit)
    return float(np.clip(1 - _area(inside) / _area(quad), 0, 1))


def inside_mask(quad: NDArray[np.float64], height: int, width: int, resolution: int) -> NDArray[np.bool_]:
    """`(resolution, resolution)`: which pixels of an image a photo of `height` x `width` holds."""
    along = (np.arange(resolution) + 0.5)[:, None] / resolution
    right, down = along * (quad[3] - quad[0]), along * (quad[1] - quad[0])
    x, y = np.moveaxis(quad[0] + right[None] + down[:, None], -1, 0)
    return np.asarray((x >= 0) & (x <= width) & (y >= 0) & (y <= height))


def _clipped(corners: NDArray[np.float64], distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of a convex polygon `(n, 2)` where `distance` `(n,)`, which is linear, is not negative."""
    kept = []
    for i in range(len(corners)):
        before, here = distance[i - 1], distance[i]
        if (before < 0) != (here < 0):  # the edge crosses the line
            kept.append(corners[i - 1] + (corners[i] - corners[i - 1]) * (before / (before - here)))
        if here >= 0:
            kept.append(corners[i])
    return np.array(kept).reshape(-1, 2)


def _area(corners: NDArray[np.float64]) -> float:
    """Area of a polygon `(n, 2)`, whichever way round it is named."""
    x, y = corners.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
