"""Time each step of `celebahq.legacy_align` beside the libraries' own functions that it replaces.

    OMP_NUM_THREADS=1 python tools/bench_legacy.py
    OMP_NUM_THREADS=1 python tools/bench_legacy.py --photo a.jpg --landmarks "9 8 12 8 10 9 9 11 12 11"

The libraries' results differ in some bytes: that is why they are replaced. Processor time of one core; the
two sides take turns and the smallest of all rounds counts, so that a busy machine hits both alike.
"""

import json
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from celebahq.legacy import align
from celebahq.legacy.align import Framed
from celebahq.legacy.jpeg import decode_jpeg
from celebahq.legacy.lanczos import resize
from celebahq.legacy.quad import transform_quad

FACE = np.array([[195, 115], [251, 108], [229, 139], [207, 163], [255, 157]])  # of skimage's astronaut
CASES = {"inside": (0, 60), "at the edge": (0, 0), "far outside": (-110, -60)}  # by how the face is moved

Step = Callable[[], Any]


@click.command()
@click.option("--photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--landmarks", metavar="'X Y X Y ...'", help="The five points in the photo.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True)
def main(photo: Path | None, landmarks: str | None, rounds: int, as_json: bool) -> None:
    """Print seconds per step, ours and the libraries', and their ratio."""
    if (photo is None) != (landmarks is None):
        raise click.UsageError("--photo and --landmarks go together")
    with tempfile.TemporaryDirectory() as folder:
        if photo and landmarks:
            cases = {photo.name: (photo, np.array(landmarks.split(), float).reshape(5, 2))}
        else:
            cases = {name: astronaut(Path(folder), name, shift) for name, shift in CASES.items()}
        results = {name: time_steps(steps(*case), rounds) for name, case in cases.items()}
    if as_json:
        print(json.dumps({"machine": machine(), "seconds": results}, indent=2))
        return
    print(machine())
    for name, times in results.items():
        print(f"\n{name:<16}{'ours':>8}{'library':>9}{'ratio':>8}")
        for step, (ours, library) in times.items():
            print(f"  {step:<14}{ours:>8.3f}{library:>9.3f}{library / ours:>8.2f}")


def astronaut(folder: Path, name: str, shift: tuple[int, int]) -> tuple[Path, NDArray[Any]]:
    """A JPEG of the astronaut, with room above where it is moved down, and the landmarks moved."""
    picture = np.pad(skimage.data.astronaut(), ((max(shift[1], 0), 0), (0, 0), (0, 0)), mode="reflect")
    path = folder / f"{name}.jpg"
    Image.fromarray(picture).save(path, quality=90, subsampling="4:2:0")
    return path, FACE + shift


def steps(photo: Path, landmarks: NDArray[Any]) -> dict[str, tuple[Step, Step]]:
    """Each step twice: this project's, and the library function of the same purpose."""
    quad, zoom = align.landmark_quad(landmarks)
    shrunk = align.shrink(Framed(decode_jpeg(photo), quad, zoom))
    border_px = max(round(1024 * 0.1 / shrunk.zoom), 3)
    cropped = align.crop(shrunk, border_px)
    enlarged = align.enlarge(cropped)
    padded = align.pad(enlarged, border_px)
    big = transform_quad(padded.image, padded.quad, 4096)
    pairs: dict[str, tuple[Step, Step]] = {
        "decode": (lambda: decode_jpeg(photo), lambda: np.asarray(Image.open(photo))),
        "enlarge": (
            lambda: align.enlarge(cropped),
            lambda: pillow_lanczos(cropped.image, *size(enlarged.image)),
        ),
    }
    if padded is not enlarged:
        top_left = np.rint(padded.quad[0] - enlarged.quad[0]).astype(int).tolist()
        pairs["pad"] = (
            lambda: align.pad(enlarged, border_px),
            lambda: scipy_padding(enlarged.image, top_left, size(padded.image), enlarged.zoom),
        )
    return pairs | {
        "transform": (
            lambda: transform_quad(padded.image, padded.quad, 4096),
            lambda: pillow_quad(padded.image, padded.quad),
        ),
        "reduce": (lambda: resize(big, 1024, 1024), lambda: pillow_lanczos(big, 1024, 1024)),
    }


def size(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height."""
    return image.shape[1], image.shape[0]


def pillow_lanczos(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Today's Pillow."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def pillow_quad(image: NDArray[np.uint8], quad: NDArray[Any]) -> NDArray[np.uint8]:
    """Today's Pillow, with the corners as they are."""
    corners = quad.flatten().tolist()
    quadrilateral, bilinear = Image.Transform.QUAD, Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(image).transform((4096, 4096), quadrilateral, corners, bilinear))


def scipy_padding(
    image: NDArray[np.uint8], top_left: list[int], padded_size: tuple[int, int], zoom: float
) -> NDArray[Any]:
    """The padding with the functions that it was published with."""
    (left, top), (width, height) = top_left, padded_size
    right, bottom = width - left - image.shape[1], height - top - image.shape[0]
    padded = np.pad(np.float32(image), ((top, bottom), (left, right), (0, 0)), "reflect")
    y, x = np.mgrid[:height, :width].astype(np.float32)[..., None]
    across = np.minimum(x / left, (width - 1 - x) / right)
    mask = 1 - np.minimum(across, np.minimum(y / top, (height - 1 - y) / bottom))
    sigma = 1024 * 0.02 / zoom
    padded += (ndimage.gaussian_filter(padded, [sigma, sigma, 0]) - padded) * np.clip(mask * 3 + 1, 0, 1)
    padded += (np.median(padded, axis=(0, 1)) - padded) * np.clip(mask, 0, 1)
    return np.clip(np.round(padded), 0, 255).astype(np.uint8)


def time_steps(pairs: dict[str, tuple[Step, Step]], rounds: int) -> dict[str, tuple[float, float]]:
    """The smallest processor time of either side of each step, and their sums."""
    best = {step: [float("inf"), float("inf")] for step in pairs}
    for _ in range(rounds):
        for step, both in pairs.items():
            for side, function in enumerate(both):
                start = time.process_time()
                function()
                best[step][side] = min(best[step][side], time.process_time() - start)
    times = {step: (ours, library) for step, (ours, library) in best.items()}
    return times | {"total": (sum(t[0] for t in times.values()), sum(t[1] for t in times.values()))}


def machine() -> str:
    """Where and with what this was measured."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "pillow", "jpeglib"))
    return (
        f"{platform.machine()}, Python {platform.python_version()}, {libraries}; processor seconds per image"
    )


if __name__ == "__main__":
    main()
