"""What photos on the web have been through: pairs of a degraded picture and its clean original.

A network trained on JPEG blocks in one place only does nothing for pictures that were cropped, shrunk
or saved again, so blocks lie anywhere here, some pictures are compressed twice, some are rescaled after
compression, and some are clean. Every function draws from the generator it is given.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Photo = NDArray[np.uint8]

CLEAN_SHARE = 0.10
GREY_SHARE = 0.15
RESCALED_SHARE = 0.15
DOUBLE_SHARE = 0.30
SECOND_LOWEST, SECOND_HIGHEST = 60, 98  # who saves a picture again seldom makes it small
CHROMA_420_SHARE = 0.7
LOWEST_QUALITY, HIGHEST_QUALITY = 5, 100
LOW_QUALITY_LEAN = 1.3  # quality = 5 + 95 u^1.3: somewhat more of the strongly compressed
SMALLEST_RESCALE, LARGEST_RESCALE = 0.6, 1.4
GRID_MARGIN = 32  # twice the 16 px cell of 4:2:0, one for each of two grid offsets


def jpeg(image: Photo, quality: int, *, chroma_420: bool = True) -> Photo:
    """Save as JPEG and read back: `(H, W, 3)` uint8 RGB, or `(H, W)` grey, to the same."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if image.ndim == 2:
        _, data = cv2.imencode(".jpg", image, flags)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if chroma_420 else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def draw_quality(rng: np.random.Generator) -> int:
    """A JPEG quality of 5..100."""
    span = HIGHEST_QUALITY - LOWEST_QUALITY
    return LOWEST_QUALITY + int(span * rng.random() ** LOW_QUALITY_LEAN + 0.5)


def jpeg_pair(image: Photo, patch: int, rng: np.random.Generator) -> tuple[Photo, Photo]:
    """A compressed patch and the same patch clean, each `(patch, patch, 3)` uint8.

    Args:
        image: `(H, W, 3)` uint8 RGB, H and W at least `(patch + 32) / 0.6`.
        patch: Side in pixels.
        rng: All choices come from here.
    """
    rescaled = rng.random() < RESCALED_SHARE
    scale = rng.uniform(SMALLEST_RESCALE, LARGEST_RESCALE) if rescaled else 1.0
    clean = turn(random_crop(image, round((patch + GRID_MARGIN) / scale), rng), rng)
    if rng.random() < GREY_SHARE:
        clean = np.asarray(cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY), dtype=np.uint8)

    degraded = clean
    if rng.random() >= CLEAN_SHARE:
        degraded = compress(degraded, draw_quality(rng), rng)
        if rng.random() < DOUBLE_SHARE:
            y, x = rng.integers(0, GRID_MARGIN // 2, size=2)
            clean = clean[y:, x:]
            again = int(rng.integers(SECOND_LOWEST, SECOND_HIGHEST + 1))
            degraded = compress(np.ascontiguousarray(degraded[y:, x:]), again, rng)
    if rescaled:
        clean, degraded = rescale(clean, scale), rescale(degraded, scale)

    y = rng.integers(0, clean.shape[0] - patch + 1)
    x = rng.integers(0, clean.shape[1] - patch + 1)
    pair = (degraded[y : y + patch, x : x + patch], clean[y : y + patch, x : x + patch])
    if clean.ndim == 2:
        return as_rgb(pair[0]), as_rgb(pair[1])
    return pair


def compress(image: Photo, quality: int, rng: np.random.Generator) -> Photo:
    """One JPEG generation of random chroma sampling."""
    return jpeg(image, quality, chroma_420=bool(rng.random() < CHROMA_420_SHARE))


def rescale(image: Photo, scale: float) -> Photo:
    """Resize both sides by `scale`: area average down, cubic up."""
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)


def random_crop(image: Photo, side: int, rng: np.random.Generator) -> Photo:
    """A square of `side` pixels from anywhere in the image."""
    y = rng.integers(0, image.shape[0] - side + 1)
    x = rng.integers(0, image.shape[1] - side + 1)
    return image[y : y + side, x : x + side]


def turn(image: Photo, rng: np.random.Generator) -> Photo:
    """One of the eight flips and quarter turns."""
    choice = int(rng.integers(8))
    turned = np.rot90(image, choice % 4)
    return np.ascontiguousarray(turned[:, ::-1] if choice >= 4 else turned)


def as_rgb(grey: Photo) -> Photo:
    """`(H, W)` to `(H, W, 3)` with three equal channels."""
    return np.repeat(grey[:, :, None], 3, axis=2)


def bicubic_reduce(image: Photo, factor: int) -> Photo:
    """Shrink by an integer with the antialiased bicubic kernel (a = -0.5) of the literature's benchmarks.

    Args:
        image: `(H, W, 3)` uint8, H and W multiples of `factor`.
        factor: Input pixels per output pixel.

    Differs from Matlab's imresize only in the treatment of the outermost pixels.
    """
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((width // factor, height // factor), Image.Resampling.BICUBIC)
    return np.asarray(small, dtype=np.uint8)
