"""How good an aligned image is: the frequencies of the face in it.

The paper ranks images by a frequency-based score "that favours images whose power spectrum contains a broad
range of frequencies and is approximately radially symmetric", without giving it. This one adds what that
alone misses: noise has a broad and symmetric spectrum too, and so have the outlines of a cartoon.

Only the inner part of the image is looked at, where the face is: what surrounds it may be out of focus, or
filled up because the photo ended there.

Source: Karras et al. 2018, appendix C. The weights were chosen on some faces; `tools/bench_quality.py`
prints how others are ranked.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from celebahq.align.blocks import block_artifacts, enlarged_blocks

T = TypeVar("T", np.uint8, np.bool_)

RINGS = 16
REFERENCE_RINGS = slice(3, 9)  # At 1024 px wavelengths of 19 to 133 px: what every face has.
UPPER_RINGS = slice(8, 16)  # Wavelengths of 2 to 27 px: what blur takes first.
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
SPECKS_USUAL = 6e-4  # Sharp pictures have that many.
SMALLEST_SIDE = 64
INNER_SHARE = 0.7  # Of each side: eyes to chin, with a margin.
INNER_STEP = 32  # Sides that the Fourier transform is fast for.

# Noise over detail, by octave. Skin, hair and cloth leave that much in the medians of real photos.
LEAST_RATIO = np.array([0.12, 0.15, 0.2])
USUAL_RATIO = 0.25  # Where less is left, the picture is no better for it.
FACE_AXES = 0.28, 0.36  # Of the ellipse with the face, as shares of the image's sides.
BRIGHTEST = 253
CLIPPED_USUAL = 0.02
HALO_SIGMA = 4.0
HALO_EDGES = 0.97  # Quantile of the gradient from which there is an edge.
HALO_USUAL, HALO_MOST = 0.6, 1.1  # Teeth, lashes and the frames of glasses have so much without any.

SYMMETRY_WEIGHT = 0.75
GRAIN_WEIGHT = 1.5
FLATNESS_WEIGHT = 1.5
CLIPPING_WEIGHT = 2.5
HALO_WEIGHT = 0.75
BLOCK_WEIGHT = 0.4  # Per grey level of `block_artifacts`.
ENLARGED_SHARE = 0.5  # `enlarged_blocks` counts up to twice as many grey levels for the same compression.
OUTSIDE_WEIGHT = 4.0
LEAST_KNOWN = 0.1  # Of the ellipse; with less, all of the image is looked at.
SURE = 1.0  # Confidence of a detector.
DOUBT_WEIGHT = 1.0


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
    flatness: float
    """Octaves by which ground between edges is flatter than in photos (cartoons, smooth skin); 0 and more."""
    clipping: float
    """Share of the face's values at the upper end of the range, beyond what highlights have; 0 and more."""
    halo: float
    """How far edges overshoot beyond what sharp photos have, over their contrast; 0 and more."""

    @property
    def score(self) -> float:
        """The terms weighted; higher is better."""
        return (
            self.breadth
            - SYMMETRY_WEIGHT * self.asymmetry
            - GRAIN_WEIGHT * self.grain
            - self.noise
            - self.specks
            - FLATNESS_WEIGHT * self.flatness
            - CLIPPING_WEIGHT * self.clipping
            - HALO_WEIGHT * self.halo
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


def spectral_terms(image: NDArray[np.uint8], known: NDArray[np.bool_] | None = None) -> SpectralTerms:
    """The parts of `spectral_quality`.

    Args:
        image: See there.
        known: `(H, W)`, what the photo held: noise, specks and what is clipped are looked for there alone, as
            what is made up has none.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if min(image.shape[:2]) < SMALLEST_SIDE:
        raise ValueError(f"image must be {SMALLEST_SIDE} pixels or more each way, not {image.shape[:2]}")
    if known is not None and known.shape != image.shape[:2]:
        raise ValueError(f"known must be {image.shape[:2]}, not {known.shape}")
    if known is None or known[face_ellipse(*known.shape)].mean() < LEAST_KNOWN:
        known = np.ones(image.shape[:2], np.bool_)
    clipping = clipped_share(image, known)
    image, known = inner_part(image), inner_part(known)
    luminance = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)
    specks = find_specks(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    halo = halo_ratio(luminance)
    noise, detail = noise_and_detail(luminance, known)

    # Specks have a spectrum as broad as that of detail: leave them out of it.
    luminance[specks] = cv2.medianBlur(luminance, 3)[specks]
    arithmetic, geometric, frequency = ring_means(luminance)
    # Level for a natural picture, whose power falls as 1 / f^2.
    level = np.log10(10**geometric + POWER_FLOOR) + 2 * np.log10(frequency)
    deficit = np.minimum(level[UPPER_RINGS] - max(level[REFERENCE_RINGS].mean(), FAINTEST_REFERENCE), 0)
    excess = np.maximum(arithmetic - geometric - FLAT_SPECTRUM, 0)[SYMMETRY_RINGS]
    # Noise counts as far as it is not the texture of a sharp picture.
    grain = np.minimum((noise**2 + DETAIL_FLOOR**2) / (detail**2 + DETAIL_FLOOR**2), 1)
    flatness = np.maximum(np.log2(LEAST_RATIO) - np.log2(grain) / 2, 0)
    return SpectralTerms(
        breadth=float(deficit.mean()),
        asymmetry=float(np.sqrt((excess**2).mean())),
        noise=float(np.log10(1 + (grain * (noise / NOISE_SCALES) ** 2).sum())),
        grain=float(np.maximum(grain[1:], USUAL_RATIO**2).mean()),
        specks=float(np.log10(1 + max(specks[known].mean() - SPECKS_USUAL, 0) / SPECK_SHARE)),
        flatness=float(flatness.mean()),
        clipping=max(clipping - CLIPPED_USUAL, 0.0),
        halo=max(min(halo, HALO_MOST) - HALO_USUAL, 0.0),
    )


def inner_part(image: NDArray[T]) -> NDArray[T]:
    """The middle of an image, where its face is; all of it where it is very small."""
    height, width = (
        max(int(side * INNER_SHARE) // INNER_STEP * INNER_STEP, min(side, SMALLEST_SIDE))
        for side in image.shape[:2]
    )
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def clipped_share(image: NDArray[np.uint8], known: NDArray[np.bool_]) -> float:
    """Share of the known values in the ellipse with the face that are as bright as values can be."""
    return float((image[face_ellipse(*known.shape) & known] >= BRIGHTEST).mean())


def face_ellipse(height: int, width: int) -> NDArray[np.bool_]:
    """Where in an image the face is; `(height, width)`."""
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    return np.asarray((x[None] / FACE_AXES[0]) ** 2 + (y[:, None] / FACE_AXES[1]) ** 2 < 1)


def halo_ratio(luminance: NDArray[np.float32]) -> float:
    """How much an image differs from its blurred self along its strongest edges, over their steepness.

    Photos have 0.3 to 0.7, a perfect step sqrt(pi / 2) where it is steepest, the double contours of an
    unsharp mask more than the edges that they were made of.
    """
    soft = cv2.GaussianBlur(luminance, (0, 0), HALO_SIGMA)
    across, down = (cv2.Sobel(soft, -1, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    steepness = across**2 + down**2
    edges = steepness >= max(float(np.quantile(steepness, HALO_EDGES)), DETAIL_FLOOR**2)
    if not edges.any():
        return 0.0
    overshoot = np.square(luminance - soft)[edges].mean()
    return float(np.sqrt(overshoot / steepness[edges].mean())) / HALO_SIGMA


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


def noise_and_detail(
    luminance: NDArray[np.float32], known: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standard deviation of noise and of all fine detail in the three finest octaves, grey levels.

    Detail is sparse: in most places there is little of it, so the median of the absolute values is small
    against their root mean square. Noise is everywhere, and the two agree.

    Source: the median estimate is that of Donoho and Johnstone 1994, the filter that of Immerkaer 1996.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    noise, detail = [], []
    for octave in range(len(NOISE_SCALES)):
        if octave:
            luminance, known = cv2.pyrDown(luminance), known[::2, ::2]
        filtered = np.abs(cv2.filter2D(luminance, -1, kernel))[known]
        noise.append(float(np.median(filtered)) / NORMAL_MEDIAN)
        detail.append(float(np.sqrt(np.square(filtered).mean())))
    return np.array(noise), np.array(detail)


def find_specks(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels that are far above or below all of their eight neighbours; `(H, W)` bool."""
    neighbours = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)
    above = cv2.subtract(grey, cv2.dilate(grey, neighbours))
    below = cv2.subtract(cv2.erode(grey, neighbours), grey)
    return np.asarray(cv2.max(above, below) > SPECK_CONTRAST)


def build_score(
    image: NDArray[np.uint8],
    photo: NDArray[np.uint8],
    *,
    outside: float = 0.0,
    confidence: float = SURE,
    known: NDArray[np.bool_] | None = None,
) -> float:
    """The score by which a build ranks its images; higher is better.

    Args:
        image: The aligned image, see `spectral_quality`.
        photo: The part of the photo that it was made from, as it was decoded, see `block_artifacts`.
        outside: Share of the image that the photo did not hold, 0..1. A face that is half invented loses
            more by it than any restoration of its inner part can gain.
        confidence: Of the detector that this is a face: 0 hardly, 1 surely.
        known: `(H, W)`, which pixels of the image the photo held; all unless told. What is made up has no
            noise, and does not hide that of the rest.

    >>> import celebahq, cv2, skimage
    >>> photo = skimage.data.astronaut()
    >>> celebahq.build_score(photo, photo) > celebahq.build_score(cv2.blur(photo, (9, 9)), photo)
    True
    """
    blocks = max(block_artifacts(photo), ENLARGED_SHARE * enlarged_blocks(photo))
    doubt = SURE - confidence
    quality = spectral_terms(image, known).score
    return quality - BLOCK_WEIGHT * blocks - OUTSIDE_WEIGHT * outside - DOUBT_WEIGHT * doubt
