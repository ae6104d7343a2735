"""What photos on the web have been through: pairs of a degraded picture and its clean original.

A camera or an editor saves a JPEG, somebody crops it, a site resizes it and saves it again, often twice. So
blocks lie anywhere here and have any size, and their edges are hidden under those of a later, better
compression. Some pictures have been through less, and some are clean. Every function draws from the
generator it is given.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Photo = NDArray[np.uint8]

Edit = Callable[[Photo], Photo]

CLEAN_SHARE = 0.10
GREY_SHARE = 0.15
RESCALED_SHARE = 0.45
SAVED_AGAIN = {True: (0.2, 0.5, 0.3), False: (0.7, 0.2, 0.1)}
"""Chances of no, one, and two more generations after the first, for rescaled and for other pictures."""
SECOND_LOWEST, SECOND_HIGHEST = 70, 98  # who saves a picture again seldom makes it small
CROPPED_SHARE = 0.5  # of the generations; the others keep the corner of the grid
CHROMA_420_SHARE = 0.7
LOWEST_QUALITY, HIGHEST_QUALITY = 5, 100
LOW_QUALITY_LEAN = 1.3  # quality = 5 + 95 u^1.3: somewhat more of the strongly compressed
SMALLEST_RESCALE, LARGEST_RESCALE = 0.5, 3.0
SHARPENED_SHARE = 0.25  # of the rescaled
GRID_MARGIN = 32  # twice the 16 px cell of 4:2:0, one for each of two grid offsets
DOWN = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.BOX)
UP = DOWN[:3]  # an area mean only repeats pixels there


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

    What changes the size or the sharpness is done to the clean patch as well: the network is to take
    compression away, nothing else.

    Args:
        image: `(H, W, 3)` uint8 RGB, H and W at least `2 * (patch + 32)`.
        patch: Side in pixels.
        rng: All choices come from here.
    """
    rescaled = bool(rng.random() < RESCALED_SHARE)
    scale = draw_scale(rng) if rescaled else 1.0
    clean = turn(random_crop(image, round((patch + GRID_MARGIN) / scale), rng), rng)
    if rng.random() < GREY_SHARE:
        clean = np.asarray(cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    edit = draw_edit(patch + GRID_MARGIN, rng) if rescaled else np.ascontiguousarray

    if rng.random() < CLEAN_SHARE:
        clean = degraded = edit(clean)
    else:
        degraded = compress(clean, draw_quality(rng), rng)
        clean, degraded = edit(clean), edit(degraded)
        for _ in range(rng.choice(3, p=SAVED_AGAIN[rescaled])):
            clean, degraded = save_again(clean, degraded, rng)

    y = rng.integers(0, clean.shape[0] - patch + 1)
    x = rng.integers(0, clean.shape[1] - patch + 1)
    pair = (degraded[y : y + patch, x : x + patch], clean[y : y + patch, x : x + patch])
    if clean.ndim == 2:
        return as_rgb(pair[0]), as_rgb(pair[1])
    return pair


def draw_scale(rng: np.random.Generator) -> float:
    """A factor of 0.5..3 on both sides, as many halvings as doublings are long."""
    return float(np.exp(rng.uniform(np.log(SMALLEST_RESCALE), np.log(LARGEST_RESCALE))))


def draw_edit(side: int, rng: np.random.Generator) -> Edit:
    """What a site does to a picture: resize a square to `side` pixels by some filter, perhaps sharpen it."""
    down, up = DOWN[rng.integers(len(DOWN))], UP[rng.integers(len(UP))]
    amount = rng.uniform(0.3, 1.2) if rng.random() < SHARPENED_SHARE else 0.0
    sigma = rng.uniform(0.5, 1.5)

    def edit(image: Photo) -> Photo:
        method = down if side < len(image) else up
        resized = np.asarray(Image.fromarray(image).resize((side, side), method), dtype=np.uint8)
        return sharpen(resized, amount, sigma) if amount else resized

    return edit


def sharpen(image: Photo, amount: float, sigma: float) -> Photo:
    """Unsharp mask: add `amount` times what a Gaussian of `sigma` pixels takes away."""
    soft = cv2.GaussianBlur(image, (0, 0), sigma)
    return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), dtype=np.uint8)


def save_again(clean: Photo, degraded: Photo, rng: np.random.Generator) -> tuple[Photo, Photo]:
    """Compress a picture once more, cropped or not; the clean one is cropped with it."""
    if rng.random() < CROPPED_SHARE:
        y, x = rng.integers(0, GRID_MARGIN // 2, size=2)
        clean, degraded = clean[y:, x:], np.ascontiguousarray(degraded[y:, x:])
    quality = int(rng.integers(SECOND_LOWEST, SECOND_HIGHEST + 1))
    return clean, compress(degraded, quality, rng)


def compress(image: Photo, quality: int, rng: np.random.Generator) -> Photo:
    """One JPEG generation of random chroma sampling."""
    return jpeg(image, quality, chroma_420=bool(rng.random() < CHROMA_420_SHARE))


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
