"""JPEG blocks in a photo, also where it was resized since."""

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK_SIDE = 8
BLOCK_CLIP = 16.0  # Grey levels; larger steps are edges of the scene.

FREQUENCIES = np.linspace(1 / 25, 1 / 8.5, 5000)  # Of the borders of enlarged blocks; steps of 0.02 %.
REACHES = 1, 2  # Pixels over which an edge of a block bends: the more it was enlarged, the more.
SCENE_PX = 31  # What changes slowly from column to column is the scene.
SPECTRUM_FINENESS = 8
PEAK_BY_CHANCE = 2.5  # Times the median of the spectrum; the scene reaches that in both directions at once.
SMALLEST_SIDE = 72


def block_artifacts(photo: NDArray[np.uint8]) -> float:
    """Strength of JPEG blocks in a photo at its own resolution, in grey levels; lower is better.

    The bend of the brightness at the borders of 8x8 blocks against that in between, for the grid position
    where it is largest, so that cropped photos are judged alike. Uncompressed photos have about 0, JPEG
    quality 90 about 0.6, 50 about 2, 10 about 5.

    Args:
        photo: `(H, W, 3)` uint8 RGB, not resampled since it was compressed; smaller than 24 pixels gives 0.

    Raises:
        ValueError: Another shape or type.

    >>> import celebahq, cv2, skimage
    >>> photo = skimage.data.astronaut()
    >>> _, jpeg = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 20])
    >>> celebahq.block_artifacts(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) > celebahq.block_artifacts(photo) + 1
    True
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ValueError(f"photo must be (H, W, 3) uint8, not {photo.shape} {photo.dtype}")
    if min(photo.shape[:2]) < 3 * BLOCK_SIDE:
        return 0.0
    luminance = cv2.cvtColor(photo.astype(np.float32), cv2.COLOR_RGB2GRAY)
    return (_blocks_along_rows(luminance) + _blocks_along_rows(cv2.transpose(luminance))) / 2


def _blocks_along_rows(luminance: NDArray[np.float32]) -> float:
    by_column = _bend_by_column(luminance)
    whole = by_column[: len(by_column) // BLOCK_SIDE * BLOCK_SIDE]
    by_phase = whole.reshape(-1, BLOCK_SIDE).mean(axis=0)
    return float(by_phase.max() - np.median(by_phase))


def enlarged_blocks(photo: NDArray[np.uint8]) -> float:
    """Strength of JPEG blocks in a photo that was enlarged since, in grey levels; lower is better.

    Borders at equal distances show in the spectrum of the bends as peaks at the multiples of one frequency,
    equally high. Blocks have one period in both directions, the scene hardly ever does. Photos without such
    blocks have 0 to 0.5, quality 10 enlarged 1.5 to 3 times 4 to 12, quality 60 half to 4.

    Args:
        photo: As for `block_artifacts`; blocks of 8.5 to 25 pixels are found.
    """
    if min(photo.shape[:2]) < SMALLEST_SIDE:
        return 0.0
    luminance = cv2.cvtColor(photo.astype(np.float32), cv2.COLOR_RGB2GRAY)
    views = (luminance, cv2.transpose(luminance))
    return max(float(np.minimum(*(_combs(view, reach) for view in views)).max()) for reach in REACHES)


def _combs(luminance: NDArray[np.float32], reach: int) -> NDArray[np.float64]:
    """Height of the columns' comb of each of `FREQUENCIES`, in grey levels."""
    by_column = _bend_by_column(luminance, reach)
    by_column -= cv2.blur(by_column[None], (SCENE_PX, 1))[0]
    count = len(by_column)
    size = 1 << (SPECTRUM_FINENESS * count).bit_length()
    window = np.hanning(count)
    spectrum = np.abs(np.fft.rfft(by_column * window, size)) / window.sum()
    places = np.arange(len(spectrum)) / size
    peaks = np.minimum(*(np.interp(k * FREQUENCIES, places, spectrum) for k in (1, 2)))
    chance = PEAK_BY_CHANCE * np.median(spectrum[(places > FREQUENCIES[0]) & (places < 2 * FREQUENCIES[-1])])
    return np.asarray(np.maximum(peaks - chance, 0) / FREQUENCIES)


def _bend_by_column(luminance: NDArray[np.float32], reach: int = 1) -> NDArray[np.float32]:
    """Mean over each column of how far it lies off the line between its neighbours at `reach` pixels."""
    middle = luminance[:, reach:-reach]
    bend = np.abs(luminance[:, : -2 * reach] - 2 * middle + luminance[:, 2 * reach :])
    return np.asarray(np.minimum(bend, BLOCK_CLIP, out=bend).mean(axis=0))
