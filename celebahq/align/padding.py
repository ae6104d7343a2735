"""Where a crop leaves the photo: reflection, fading into a blur and then into the median colour."""

import cv2
import numpy as np
from numpy.typing import NDArray

from celebahq.align.geometry import quad_side

STRIP_ROWS = 64  # Rows blended at a time: a strip of float32 stays in the processor's cache.
TAPS_PER_SIGMA = 4.0  # The blur's standard deviation in pixels of the reduced picture.


def edge_pads(height: int, width: int, quad: NDArray[np.float64], border: int) -> NDArray[np.int64] | None:
    """How far a picture must grow for a crop, or None if it need not.

    Args:
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        quad: `(4, 2)` corners in the picture's pixel-edge coordinates.
        border: Margin in pixels wanted around the quad.

    Returns:
        `(4,)` pixels to add left, top, right, bottom.

    Source: the original data set's procedure; Karras et al. 2018, appendix C.
    """
    left, top = np.floor(quad.min(axis=0)).astype(np.int64)
    right, bottom = np.ceil(quad.max(axis=0)).astype(np.int64)
    overhang = np.array([-left, -top, right - width, bottom - height], np.int64)
    pads: NDArray[np.int64] = np.maximum(overhang + border, 0)
    if pads.max() <= border - 4:
        return None
    pads = np.maximum(pads, round(0.3 * quad_side(quad)))
    return pads


def pad_and_blend(
    picture: NDArray[np.uint8], quad: NDArray[np.float64], border: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Continue a picture beyond its edges as far as a crop reaches.

    The picture is reflected; from a third of the pad's width inside its edges outwards it fades into a
    Gaussian blur of itself, and outside them into the median colour. The blur (tens of pixels wide) is
    computed on a reduced copy and the median from one pixel per cell of it: within 2 grey levels of the
    full-size computation.

    Args:
        picture: `(H, W, 3)` uint8.
        quad: `(4, 2)` corners in the picture's pixel-edge coordinates.
        border: Margin in pixels wanted around the quad.

    Returns:
        The picture and the quad as they came if the crop stays inside; else the part of the padded picture
        around the quad, and the quad in its coordinates.
    """
    pads = edge_pads(picture.shape[0], picture.shape[1], quad, border)
    if pads is None:
        return picture, quad
    left, top, right, bottom = (int(pad) for pad in pads)
    padded = cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_REFLECT_101)
    height, width = padded.shape[:2]
    mask_x = edge_mask(width, left, right)
    mask_y = edge_mask(height, top, bottom)

    sigma = 0.02 * quad_side(quad)
    cell = max(round(sigma / TAPS_PER_SIGMA), 1)
    blurred = _reduced_blur(padded, sigma, cell)
    median = _median_colour(padded, blurred, mask_x, mask_y, cell)

    # Only what the crop will look at: its bounding box and the neighbours that bilinear filtering needs.
    quad = quad + np.array([left, top])
    x0, y0 = np.maximum(np.floor(quad.min(axis=0)).astype(int) - 2, 0)
    x1, y1 = np.minimum(np.ceil(quad.max(axis=0)).astype(int) + 2, [width, height])
    window = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
    for start in range(y0, y1, STRIP_ROWS):
        rows = slice(start, min(start + STRIP_ROWS, y1))
        window[start - y0 : rows.stop - y0] = _blend(
            padded[rows, x0:x1],
            _enlarged_part(blurred, cell, rows, slice(x0, x1)),
            median,
            mask_x[x0:x1],
            mask_y[rows],
        )
    return window, quad - [x0, y0]


def edge_mask(length: int, pad_before: int, pad_after: int) -> NDArray[np.float32]:
    """1 at the padded picture's edges, 0 at the photo's, negative inside: `(length,)` float32."""
    distance = np.arange(length, dtype=np.float32)
    return 1 - np.minimum(distance / pad_before, distance[::-1] / pad_after)


def _reduced_blur(padded: NDArray[np.uint8], sigma: float, cell: int) -> NDArray[np.float32]:
    """The Gaussian blur of a picture, one value per `cell` x `cell` pixels."""
    height, width = padded.shape[:2]
    whole = cv2.copyMakeBorder(padded, 0, -height % cell, 0, -width % cell, cv2.BORDER_REFLECT)
    size = (whole.shape[1] // cell, whole.shape[0] // cell)
    reduced = cv2.resize(whole.astype(np.float32) if cell == 1 else whole, size, interpolation=cv2.INTER_AREA)
    # The box mean and the later linear interpolation blur too: with variances cell^2/12 and cell^2/6.
    extra = (cell**2 - 1) / 4 if cell > 1 else 0.0
    sigma = float(np.sqrt(sigma**2 - extra) / cell)
    taps = 2 * int(np.ceil(4 * sigma)) + 1
    return np.asarray(
        cv2.GaussianBlur(reduced.astype(np.float32), (taps, taps), sigma, borderType=cv2.BORDER_REFLECT)
    )


def _median_colour(
    padded: NDArray[np.uint8],
    blurred: NDArray[np.float32],
    mask_x: NDArray[np.float32],
    mask_y: NDArray[np.float32],
    cell: int,
) -> NDArray[np.float32]:
    """Median of each channel after the first blend, `(3,)`, from the middle pixel of every cell."""
    middles = slice(cell // 2, None, cell)
    pixels = padded[middles, middles].astype(np.float32)
    blurred = blurred[: pixels.shape[0], : pixels.shape[1]]
    mask = np.maximum(mask_y[middles, None], mask_x[None, middles])[..., None]
    pixels += (blurred - pixels) * np.clip(3 * mask + 1, 0, 1)
    return np.median(pixels.reshape(-1, 3), axis=0)


def _enlarged_part(
    reduced: NDArray[np.float32], cell: int, rows: slice, columns: slice
) -> NDArray[np.float32]:
    """Rows and columns of `reduced` enlarged `cell` times by linear interpolation."""
    if cell == 1:
        return reduced[rows, columns]
    y0, x0 = max(rows.start // cell - 1, 0), max(columns.start // cell - 1, 0)
    part = reduced[y0 : -(-rows.stop // cell) + 1, x0 : -(-columns.stop // cell) + 1]
    large = cv2.resize(part, None, fx=cell, fy=cell, interpolation=cv2.INTER_LINEAR)
    y0, x0 = rows.start - y0 * cell, columns.start - x0 * cell
    return np.asarray(large[y0 : y0 + rows.stop - rows.start, x0 : x0 + columns.stop - columns.start])


def _blend(
    pixels: NDArray[np.uint8],
    blurred: NDArray[np.float32],
    median: NDArray[np.float32],
    mask_x: NDArray[np.float32],
    mask_y: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Fade a strip into its blur, then into the median; `(h, w, 3)` uint8."""
    height, width = pixels.shape[:2]
    # One row of w * 3 numbers instead of w x 3: NumPy is several times faster on long rows.
    mask = np.maximum(mask_y[:, None], np.repeat(mask_x, 3)[None])
    strip = pixels.reshape(height, -1).astype(np.float32)
    change = blurred.reshape(height, -1) - strip
    change *= np.clip(3 * mask + 1, 0, 1)
    strip += change
    np.subtract(np.tile(median, width), strip, out=change)
    change *= np.clip(mask, 0, 1, out=mask)
    strip += change
    return np.rint(strip, out=strip).astype(np.uint8).reshape(pixels.shape)
