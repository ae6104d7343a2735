"""How good an aligned image is: its frequencies, and the JPEG blocks of the photo it comes from.

The paper ranks images by a frequency-based score "that favours images whose power spectrum contains a broad
range of frequencies and is approximately radially symmetric", without giving it. This one adds what that
alone misses: noise has a broad and symmetric spectrum too.

Source: Karras et al. 2018, appendix C. The weights were chosen on some faces; `tools/bench_quality.py`
prints how others are ranked.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

RINGS = 16
REFERENCE_RINGS = slice(3, 9)  # At 1024 px wavelengths of 27 to 170 px: what every face has.
UPPER_RINGS = slice(8, 16)  # Wavelengths of 2 to 32 px: what blur takes first.
SYMMETRY_RINGS = slice(5, 16)
FAINTEST_REFERENCE = 1.0  # log10; faces have 1 to 2. Less is no picture.
POWER_FLOOR = 1.0  # What lies below noise of one grey level counts as nothing.

# log10 of arithmetic over geometric mean for a spectrum without any structure (Euler's gamma / ln 10).
FLAT_SPECTRUM = 0.2507

NOISE_SCALES = np.array([1.0, 0.7, 1.4])  # Grey levels of noise that begin to count, by octave.
DETAIL_FLOOR = 0.05  # Grey levels; an octave with less has none.
NORMAL_MEDIAN = 0.6745  # Median of the absolute value of a standard normal variable.
SPECK_CONTRAST = 30  # Grey levels by which a pixel leaves the range of all its neighbours.
SPECK_SHARE = 5e-4
SMALLEST_SIDE = 64

SYMMETRY_WEIGHT = 0.75
GRAIN_WEIGHT = 1.5
BLOCK_WEIGHT = 0.4  # Per grey level of `block_artifacts`.

BLOCK_SIDE = 8
BLOCK_CLIP = 16.0  # Grey levels; larger steps are edges of the scene.


@dataclass(frozen=True)
class SpectralTerms:
    """What the score is made of."""

    breadth: float
    """Mean deficit of the upper half of the frequencies against the middle, log10 of power; at most 0."""
    asymmetry: float
    """Power concentrated in directions or single frequencies: stripes, screens, motion blur; 0 and more."""
    noise: float
    """log10 of the variance that is everywhere, also where the picture is smooth; 0 and more."""
    grain: float
    """Share of that variance in the fine detail, 0..1: 1 where all detail is noise, or none is left."""
    specks: float
    """log10 of the share of single pixels that differ from all their neighbours; 0 and more."""

    @property
    def score(self) -> float:
        """The terms weighted; higher is better."""
        return (
            self.breadth
            - SYMMETRY_WEIGHT * self.asymmetry
            - GRAIN_WEIGHT * self.grain
            - self.noise
            - self.specks
        )


def spectral_quality(image: NDArray[np.uint8]) -> float:
    """Quality of an aligned image by its frequencies; higher is better, good faces have about -1.5.

    Args:
        image: `(H, W, 3)` uint8 RGB, 64 pixels or more each way. Compare images of equal size only.

    Raises:
        ValueError: Another shape or type.

    >>> import celebahq, cv2, skimage
    >>> photo = skimage.data.astronaut()
    >>> celebahq.spectral_quality(photo) > celebahq.spectral_quality(cv2.blur(photo, (9, 9)))
    True
    """
    return spectral_terms(image).score


def spectral_terms(image: NDArray[np.uint8]) -> SpectralTerms:
    """The parts of `spectral_quality`."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if min(image.shape[:2]) < SMALLEST_SIDE:
        raise ValueError(f"image must be {SMALLEST_SIDE} pixels or more each way, not {image.shape[:2]}")
    luminance = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)
    specks = find_specks(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    noise, detail = noise_and_detail(luminance)

    # Specks have a spectrum as broad as that of detail: leave them out of it.
    luminance[specks] = cv2.medianBlur(luminance, 3)[specks]
    arithmetic, geometric, frequency = ring_means(luminance)
    # Level for a natural picture, whose power falls as 1 / f^2.
    level = np.log10(10**geometric + POWER_FLOOR) + 2 * np.log10(frequency)
    deficit = np.minimum(level[UPPER_RINGS] - max(level[REFERENCE_RINGS].mean(), FAINTEST_REFERENCE), 0)
    excess = np.maximum(arithmetic - geometric - FLAT_SPECTRUM, 0)[SYMMETRY_RINGS]
    # Noise counts as far as it is not the texture of a sharp picture.
    grain = np.minimum((noise**2 + DETAIL_FLOOR**2) / (detail**2 + DETAIL_FLOOR**2), 1)
    return SpectralTerms(
        breadth=float(deficit.mean()),
        asymmetry=float(np.sqrt((excess**2).mean())),
        noise=float(np.log10(1 + (grain * (noise / NOISE_SCALES) ** 2).sum())),
        grain=float(grain[1:].mean()),
        specks=float(np.log10(1 + specks.mean() / SPECK_SHARE)),
    )


def ring_means(
    luminance: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Power spectrum in rings that are equally wide in the logarithm of the frequency.

    Args:
        luminance: `(H, W)` float32.

    Returns:
        log10 of each ring's arithmetic mean, of its geometric mean, and its frequency in cycles per pixel;
        `(RINGS,)` each, coarse to fine, up to half a cycle per pixel. Power is such that white noise has its
        variance. The geometric mean hardly notices lines and peaks; the distance of the two tells of them.
    """
    window, ring, count, frequency = _spectrum_geometry(*luminance.shape)
    luminance = luminance - (luminance * window).sum() / window.sum()
    spectrum = scipy.fft.rfft2(luminance * window)
    power = spectrum.real**2 + spectrum.imag**2
    power /= (window**2).sum()
    mean = np.bincount(ring, power.ravel(), RINGS + 1)[:RINGS] / count
    logarithm = np.log10(power + np.float32(1e-6))
    mean_logarithm = np.bincount(ring, logarithm.ravel(), RINGS + 1)[:RINGS] / count
    return np.log10(mean + 1e-6), mean_logarithm, frequency


@lru_cache(maxsize=2)
def _spectrum_geometry(
    height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Hann window; ring number of each coefficient, RINGS for none; coefficients per ring; frequencies."""
    window = np.outer(np.hanning(height + 1)[:-1], np.hanning(width + 1)[:-1]).astype(np.float32)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    edges = np.geomspace(2 / min(height, width), 0.5, RINGS + 1)
    ring = np.digitize(radius.ravel(), edges) - 1
    ring[ring < 0] = RINGS
    count = np.maximum(np.bincount(ring, minlength=RINGS + 1)[:RINGS], 1)
    return window, ring, count, np.sqrt(edges[1:] * edges[:-1])


def noise_and_detail(luminance: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standard deviation of noise and of all fine detail in the three finest octaves, grey levels.

    Detail is sparse: in most places there is little of it, so the median of the absolute values is small
    against their root mean square. Noise is everywhere, and the two agree. Only the middle of the image is
    looked at, where crops are hardly ever filled up.

    Source: the median estimate is that of Donoho and Johnstone 1994, the filter that of Immerkaer 1996.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    noise, detail = [], []
    for octave in range(len(NOISE_SCALES)):
        if octave:
            luminance = cv2.pyrDown(luminance)
        height, width = luminance.shape
        filtered = cv2.filter2D(luminance, -1, kernel)
        middle = np.abs(filtered[height * 15 // 100 : height * 85 // 100, width // 5 : width * 4 // 5])
        noise.append(float(np.median(middle)) / NORMAL_MEDIAN)
        detail.append(float(np.sqrt(np.square(middle).mean())))
    return np.array(noise), np.array(detail)


def find_specks(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels that are far above or below all of their eight neighbours; `(H, W)` bool."""
    neighbours = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)
    above = cv2.subtract(grey, cv2.dilate(grey, neighbours))
    below = cv2.subtract(cv2.erode(grey, neighbours), grey)
    return np.asarray(cv2.max(above, below) > SPECK_CONTRAST)


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
    bend = np.abs(luminance[:, :-2] - 2 * luminance[:, 1:-1] + luminance[:, 2:])
    by_column = np.minimum(bend, BLOCK_CLIP, out=bend).mean(axis=0)
    whole = by_column[: len(by_column) // BLOCK_SIDE * BLOCK_SIDE]
    by_phase = whole.reshape(-1, BLOCK_SIDE).mean(axis=0)
    return float(by_phase.max() - np.median(by_phase))


def build_score(image: NDArray[np.uint8], photo: NDArray[np.uint8]) -> float:
    """The score by which a build ranks its images; higher is better.

    Args:
        image: The aligned image, see `spectral_quality`.
        photo: The part of the photo that it was made from, as it was decoded, see `block_artifacts`.

    >>> import celebahq, cv2, skimage
    >>> photo = skimage.data.astronaut()
    >>> celebahq.build_score(photo, photo) > celebahq.build_score(cv2.blur(photo, (9, 9)), photo)
    True
    """
    return spectral_quality(image) - BLOCK_WEIGHT * block_artifacts(photo)
