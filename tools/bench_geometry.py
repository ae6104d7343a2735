"""Speed and exactness of the crop: the affine warp against Pillow, the padding against SciPy's Gaussian.

Both sides of each ratio run in turn on one core; the shortest of several times counts. The photo is
scikit-image's astronaut, enlarged; the crops are rotated, one inside the photo and one leaving it.

Example:
    python tools/bench_geometry.py --repeats 5
"""

import argparse
import json
import platform
import time
from collections.abc import Callable

import cv2
import numpy as np
import PIL
import scipy
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from celebahq.align.crop import align_face, warp_quad
from celebahq.align.geometry import quad_side
from celebahq.align.padding import edge_mask, edge_pads, pad_and_blend


def square(centre: tuple[float, float], side: float, angle_deg: float) -> NDArray[np.float64]:
    """Corners of a rotated square in `crop_quad`'s order."""
    angle = np.radians(angle_deg)
    x = side / 2 * np.array([np.cos(angle), np.sin(angle)])
    y = np.array([-x[1], x[0]])
    c = np.array(centre)
    return np.stack([c - x - y, c - x + y, c + x + y, c + x - y])


def pillow_warp(picture: NDArray[np.uint8], quad: NDArray[np.float64], resolution: int) -> NDArray[np.uint8]:
    """Pillow's bilinear QUAD transform to 4096x4096 and its box filter."""
    fine = Image.fromarray(picture).transform(
        (4096, 4096), Image.Transform.QUAD, quad.flatten().tolist(), Image.Resampling.BILINEAR
    )
    return np.asarray(fine.resize((resolution, resolution), Image.Resampling.BOX))


def exact_padding(
    picture: NDArray[np.uint8], quad: NDArray[np.float64], border: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The whole picture padded at full size in float32, with SciPy's Gaussian and NumPy's median."""
    pads = edge_pads(picture.shape[0], picture.shape[1], quad, border)
    assert pads is not None
    left, top, right, bottom = pads
    padded = np.pad(picture.astype(np.float32), ((top, bottom), (left, right), (0, 0)), "reflect")
    mask = np.maximum(
        edge_mask(padded.shape[0], top, bottom)[:, None], edge_mask(padded.shape[1], left, right)[None]
    )[..., None]
    sigma = 0.02 * quad_side(quad)
    blurred = scipy.ndimage.gaussian_filter(padded, [sigma, sigma, 0])
    padded += (blurred - padded) * np.clip(3 * mask + 1, 0, 1)
    padded += (np.median(padded, axis=(0, 1)) - padded) * np.clip(mask, 0, 1)
    return np.rint(padded).astype(np.uint8), quad + np.array([left, top])


def race(*calls: Callable[[], object], repeats: int) -> list[float]:
    """The shortest time of each call in seconds, taken in turn."""
    times = [float("inf")] * len(calls)
    for _ in range(repeats):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            times[i] = min(times[i], time.perf_counter() - start)
    return times


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> dict[str, float]:
    """Largest and mean absolute difference in grey levels."""
    delta = np.abs(a.astype(np.int16) - b)
    return {"max": int(delta.max()), "mean": round(float(delta.mean()), 4)}


def main() -> None:
    """Print the two ratios and the differences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="timings per side [default: 5]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)

    astronaut = Image.fromarray(skimage.data.astronaut())
    picture = np.asarray(astronaut.resize((2048, 2048), Image.Resampling.LANCZOS))
    inside = square((1000, 1024), 1300, 12.0)
    leaving = square((900, 500), 1300, 12.0)
    border = 130

    results: dict[str, dict[str, object]] = {}
    ours, theirs = race(
        lambda: warp_quad(picture, inside, 1024),
        lambda: pillow_warp(picture, inside, 1024),
        repeats=arguments.repeats,
    )
    results["warp"] = {
        "ours_ms": round(1000 * ours, 1),
        "pillow_ms": round(1000 * theirs, 1),
        "ratio": round(theirs / ours, 2),
        **difference(warp_quad(picture, inside, 1024), pillow_warp(picture, inside, 1024)),
    }

    ours, theirs = race(
        lambda: pad_and_blend(picture, leaving, border),
        lambda: exact_padding(picture, leaving, border),
        repeats=arguments.repeats,
    )
    window, window_quad = pad_and_blend(picture, leaving, border)
    whole, whole_quad = exact_padding(picture, leaving, border)
    x, y = np.rint(whole_quad[0] - window_quad[0]).astype(int)
    results["padding"] = {
        "ours_ms": round(1000 * ours, 1),
        "scipy_ms": round(1000 * theirs, 1),
        "ratio": round(theirs / ours, 2),
        **difference(window, whole[y : y + window.shape[0], x : x + window.shape[1]]),
    }

    landmarks = np.array([[212.0, 106], [250, 106], [230, 130], [215, 146], [248, 146]])
    (whole_step,) = race(
        lambda: align_face(skimage.data.astronaut(), landmarks, 1024), repeats=arguments.repeats
    )
    results["align_face"] = {"ms": round(1000 * whole_step, 1)}

    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    print(
        f"{platform.machine()}, Python {platform.python_version()}, OpenCV {cv2.__version__}, "
        f"Pillow {PIL.__version__}, SciPy {scipy.__version__}; one core"
    )
    for name, against in (("warp", "pillow"), ("padding", "scipy")):
        row = results[name]
        print(
            f"{name:8} {row['ours_ms']:>7} ms, {against} {row[against + '_ms']:>7} ms: "
            f"{row['ratio']}x as fast; difference max {row['max']}, mean {row['mean']} grey levels"
        )
    print(f"align_face of a 512x512 photo at 1024: {results['align_face']['ms']} ms")


if __name__ == "__main__":
    main()
