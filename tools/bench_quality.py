"""How the quality score ranks images that were made worse by known amounts, and how fast it is.

Of the images in --images every ninth was there to choose the score's weights on; the table is about the
others (--chosen shows those). Per kind of damage: Spearman's rank correlation of severity and score (-1 is
perfect; the mean over images and the worst image), the share of damaged images that score below their
original, and the median score by severity, the original first.

Example:
    python tools/bench_quality.py --images aligned_faces/ --limit 12
"""

import argparse
import io
import json
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr

from celebahq.align.blocks import block_artifacts
from celebahq.align.quality import build_score, spectral_quality
from celebahq.pictures.decoding import load_photo
from celebahq.sources.listing import find_photos

Photo = NDArray[np.uint8]
Damage = Callable[[Photo, float, np.random.Generator], Photo]

CHOSEN_EVERY = 9


def rounded(values: NDArray[Any]) -> Photo:
    """To uint8."""
    whole: Photo = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return whole


def blur(photo: Photo, sigma: float, chance: np.random.Generator) -> Photo:
    """Gaussian blur."""
    return np.asarray(cv2.GaussianBlur(photo, (0, 0), sigma))


def motion_blur(photo: Photo, length: float, chance: np.random.Generator) -> Photo:
    """Mean along a line in a random direction."""
    size = 2 * int(length) + 1
    direction = np.exp(1j * chance.uniform(0, np.pi)) * length / 2
    line = np.zeros((size, size), np.uint8)
    start, end = (
        (round(16 * (size // 2 + s * direction.real)), round(16 * (size // 2 + s * direction.imag)))
        for s in (-1, 1)
    )
    cv2.line(line, start, end, 255, 1, cv2.LINE_AA, shift=4)
    return np.asarray(cv2.filter2D(photo, -1, line / line.sum()))


def upscaled(photo: Photo, factor: float, chance: np.random.Generator) -> Photo:
    """Reduced, then enlarged by a random filter."""
    size = photo.shape[1], photo.shape[0]
    filters = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]
    small = Image.fromarray(photo).resize((round(size[0] / factor), round(size[1] / factor)), filters[2])
    return np.asarray(small.resize(size, filters[chance.integers(3)]))


def scan_lines(photo: Photo, strength: float, chance: np.random.Generator) -> Photo:
    """Every second to sixth row is darker."""
    gain = np.ones(photo.shape[0])
    gain[:: chance.integers(2, 7)] -= strength
    return rounded(photo * gain[:, None, None])


def line_screen(photo: Photo, strength: float, chance: np.random.Generator) -> Photo:
    """Waves of darkness in a random direction."""
    u, _ = screen_axes(photo.shape, chance)
    return rounded(photo * (1 - strength * (0.5 + 0.5 * np.cos(u)))[..., None])


def halftone(photo: Photo, strength: float, chance: np.random.Generator) -> Photo:
    """Partly replaced by dots of a screen at a random angle."""
    u, v = screen_axes(photo.shape, chance)
    threshold = 255 * (np.cos(u) + np.cos(v) + 2) / 4
    dots = np.clip(2 * (photo - threshold[..., None]) + 128, 0, 255)
    return rounded(photo * (1 - strength) + dots * strength)


def screen_axes(shape: tuple[int, ...], chance: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Phases of a turned screen with a period of 4 to 10 pixels."""
    wave = np.exp(1j * chance.uniform(0, np.pi)) * 2 * np.pi / chance.uniform(4, 10)
    y, x = np.mgrid[: shape[0], : shape[1]]
    return x * wave.real + y * wave.imag, y * wave.real - x * wave.imag


def colour_noise(photo: Photo, sigma: float, chance: np.random.Generator) -> Photo:
    """Independent in each channel."""
    return rounded(photo + sigma * chance.standard_normal(photo.shape))


def grey_noise(photo: Photo, sigma: float, chance: np.random.Generator) -> Photo:
    """Equal in the channels."""
    return rounded(photo + sigma * chance.standard_normal((*photo.shape[:2], 1)))


def soft_noise(photo: Photo, sigma: float, chance: np.random.Generator) -> Photo:
    """Noise with a grain of some pixels."""
    noise = cv2.GaussianBlur(chance.standard_normal(photo.shape), (0, 0), 1.0)
    return rounded(photo + sigma * noise / noise.std())


def noise_on_blur(photo: Photo, sigma: float, chance: np.random.Generator) -> Photo:
    """A blurred picture's empty frequencies filled with noise."""
    return colour_noise(blur(photo, 2.0, chance), sigma, chance)


def specks(photo: Photo, share: float, chance: np.random.Generator) -> Photo:
    """Single pixels black or white."""
    result = photo.copy()
    dice = chance.random(photo.shape[:2])
    result[dice < share / 2] = 0
    result[dice > 1 - share / 2] = 255
    return result


def jpeg(photo: Photo, damage: float, chance: np.random.Generator) -> Photo:
    """Compressed at quality 100 - damage."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=round(100 - damage))
    return np.asarray(Image.open(buffer))


def cartoon(photo: Photo, share: float, chance: np.random.Generator) -> Photo:
    """Partly replaced by flat colours with dark outlines."""
    flat = photo
    for _ in range(3):
        flat = np.asarray(cv2.bilateralFilter(flat, 9, 40, 7))
    flat = flat // 24 * 24 + 12
    grey = cv2.medianBlur(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), 7)
    lines = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 2)
    return rounded(photo * (1 - share) + np.minimum(flat, lines[..., None]) * share)


def smoothed_skin(photo: Photo, times: float, chance: np.random.Generator) -> Photo:
    """Flattened between its edges."""
    for _ in range(int(times)):
        photo = np.asarray(cv2.bilateralFilter(photo, 9, 30, 6))
    return photo


def over_sharpened(photo: Photo, amount: float, chance: np.random.Generator) -> Photo:
    """Unsharp mask."""
    return rounded(photo + amount * (photo - blur(photo, 1.5, chance).astype(np.float64)))


def over_exposed(photo: Photo, gain: float, chance: np.random.Generator) -> Photo:
    """Brighter, so that light parts are clipped."""
    return rounded(photo * float(gain))


def watermark(photo: Photo, opacity: float, chance: np.random.Generator) -> Photo:
    """White letters in rows."""
    height, width = photo.shape[:2]
    letters = np.zeros((height, width), np.uint8)
    for row, y in enumerate(range(height // 16, height + 200, height // 7)):
        for x in range(-width // 3 + row % 2 * width // 10, width, width // 3):
            scale = width / 570
            cv2.putText(letters, "(c) STOCK", (x, y), cv2.FONT_HERSHEY_DUPLEX, scale, 255, 3, cv2.LINE_AA)
    alpha = opacity * letters[..., None] / 255
    return rounded(photo * (1 - alpha) + 255 * alpha)


SPECTRAL: dict[Damage, Sequence[float]] = {
    blur: (0.5, 1, 1.5, 2, 3, 4, 6),
    motion_blur: (3, 5, 9, 15, 25),
    upscaled: (1.25, 1.5, 2, 3, 4, 6),
    scan_lines: (0.03, 0.06, 0.12, 0.25, 0.5),
    line_screen: (0.03, 0.06, 0.12, 0.25, 0.5),
    halftone: (0.05, 0.1, 0.2, 0.4, 0.7, 1),
    colour_noise: (2, 4, 8, 16, 32),
    grey_noise: (2, 4, 8, 16, 32),
    soft_noise: (2, 4, 8, 16, 32),
    noise_on_blur: (2, 4, 8, 16, 32),
    specks: (0.002, 0.005, 0.01, 0.03, 0.1),
}
# Those make a picture crisper or cleaner to frequencies alone; a little of it may improve one.
PROCESSING: dict[Damage, Sequence[float]] = {
    cartoon: (0.5, 0.75, 1),
    smoothed_skin: (2, 4, 8),
    over_sharpened: (1, 2, 4),
    over_exposed: (1.2, 1.5, 2, 3),
    watermark: (0.3, 0.6, 1),
}
JPEG_DAMAGE = (5, 10, 20, 30, 50, 70, 80, 90, 95)


def measure(path: Path) -> dict[str, list[float]]:
    """Scores of one image under every damage, the original first."""
    cv2.setNumThreads(1)
    photo = load_photo(path)
    rows: dict[str, list[float]] = {}
    original = spectral_quality(photo)
    for damage, severities in (SPECTRAL | PROCESSING).items():
        # The same noise, screen or direction at every severity.
        seed = zlib.crc32(f"{path.name} {damage.__name__}".encode())
        made = (damage(photo, severity, np.random.default_rng(seed)) for severity in severities)
        rows[damage.__name__] = [original, *map(spectral_quality, map(np.ascontiguousarray, made))]
    compressed = [photo, *(jpeg(photo, damage, np.random.default_rng(0)) for damage in JPEG_DAMAGE)]
    shifted = [np.ascontiguousarray(picture[3:, 5:]) for picture in compressed]
    rows["jpeg: minus block_artifacts"] = [-block_artifacts(picture) for picture in compressed]
    rows["jpeg cropped: the same"] = [-block_artifacts(picture) for picture in shifted]
    rows["jpeg: build_score"] = [build_score(picture, picture) for picture in compressed]
    # As in a build: the photo's blocks are judged, the image was enlarged since.
    half = partial(cv2.resize, dsize=None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    small = [jpeg(half(photo), damage, np.random.default_rng(0)) for damage in JPEG_DAMAGE]
    large = [np.asarray(Image.fromarray(p).resize(photo.shape[1::-1])) for p in (half(photo), *small)]
    # Saved, enlarged twice, saved again, as sites do; the blocks have 16 px.
    double = partial(cv2.resize, dsize=None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    resaved = [jpeg(double(picture), 5, np.random.default_rng(0)) for picture in (half(photo), *small)]
    rows["jpeg, enlarged, saved: build_score"] = [build_score(photo, picture) for picture in resaved]
    rows["jpeg, then enlarged: build_score"] = list(map(build_score, large, [half(photo), *small]))
    return rows


def summary(images: list[dict[str, list[float]]]) -> dict[str, dict[str, Any]]:
    """One row per damage, over the images."""
    table = {}
    for name in images[0]:
        scores = np.array([image[name] for image in images])  # [images, severities + 1]
        rho = [float(spearmanr(range(scores.shape[1]), row).statistic) for row in scores]
        table[name] = {
            "rho": round(float(np.mean(rho)), 3),
            "worst_rho": round(max(rho), 3),
            "below_original": round(float((scores[:, 1:] < scores[:, :1]).mean()), 3),
            "scores": np.median(scores, axis=0).round(2).tolist(),
        }
    return table


def cpu_ms(call: Callable[[], object], repeats: int = 15) -> float:
    """Processor time of one call in milliseconds, the least of several."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return round(1000 * min(times), 1)


def main() -> None:
    """Print the table and the speed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="aligned images of one size"
    )
    parser.add_argument("--limit", type=int, default=12, metavar="N", help="images to use [default: 12]")
    parser.add_argument("--chosen", action="store_true", help="the images that the weights were chosen on")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes [default: 1]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    names = find_photos(arguments.images)
    split = [name for i, name in enumerate(names) if (i % CHOSEN_EVERY == 0) == arguments.chosen]
    step = max(len(split) // arguments.limit, 1)
    paths = [arguments.images / name for name in split[::step][: arguments.limit]]
    with ProcessPoolExecutor(arguments.workers) as pool:
        table = summary(list(pool.map(measure, paths)))
    cv2.setNumThreads(1)
    photo = load_photo(paths[0])
    speed = {
        "spectral_quality_ms": cpu_ms(lambda: spectral_quality(photo)),
        "block_artifacts_ms": cpu_ms(lambda: block_artifacts(photo)),
    }
    if arguments.json:
        print(json.dumps({"images": len(paths), "size": photo.shape[:2], "table": table, **speed}, indent=2))
        return
    print(f"{len(paths)} images of {photo.shape[1]}x{photo.shape[0]}")
    print(f"{'damage':34} {'rho':>6} {'worst':>6} {'below':>6}  median score, original first")
    for name, row in table.items():
        scores = " ".join(f"{score:.2f}" for score in row["scores"])
        print(f"{name:34} {row['rho']:6.3f} {row['worst_rho']:6.2f} {row['below_original']:6.3f}  {scores}")
    print(f"one core, processor time: {', '.join(f'{k} {v}' for k, v in speed.items())}")


if __name__ == "__main__":
    main()
