"""Time the pyramid reader against h5py and against plain reads, in one run on one file.

    python tools/bench_io.py                     # variations of skimage's astronaut
    python tools/bench_io.py ~/photos --images 64
    python tools/bench_io.py ~/photos --codecs   # size and speed of every codec instead

The timings of one round are taken in turns and the smallest of all rounds counts, so that a busy moment of
the machine hits all alike.
"""

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from celebahq.pictures.decoding import load_photo
from celebahq.pictures.suffixes import SUFFIXES
from celebahq.pyramid import CODECS, PyramidReader, PyramidWriter, encode_image

RESOLUTION = 1024
LEVEL = f"data{RESOLUTION}x{RESOLUTION}"


@click.command()
@click.argument("photos", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--images", default=48, show_default=True, type=click.IntRange(min=2))
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(min=1))
@click.option("--codecs", is_flag=True)
@click.option("--json", "as_json", is_flag=True)
def main(photos: Path | None, images: int, rounds: int, codecs: bool, as_json: bool) -> None:
    """Print milliseconds per image and the ratios that issue from them."""
    pictures = from_folder(photos, images) if photos else from_astronaut(images)
    if codecs:
        compare_codecs(pictures)
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = {codec: Path(folder) / f"{codec}.h5" for codec in ("gzip", "none")}
        for codec, path in paths.items():
            with PyramidWriter(path, RESOLUTION, codec=codec) as writer:
                writer.append(pictures)
        milliseconds = measure(paths, len(pictures), rounds)
        stored = paths["gzip"].stat().st_size / paths["none"].stat().st_size

    ratios = {
        "one thread / h5py": (milliseconds["h5py d[i]"] / milliseconds["read, 1 thread"], 1.6),
        "two threads / one": (milliseconds["read, 1 thread"] / milliseconds["read, 2 threads"], 1.7),
        "uncompressed / preadv": (milliseconds["preadv"] / milliseconds["read, uncompressed"], 0.7),
    }
    if as_json:
        result = {
            "ms_per_image": milliseconds,
            "ratios": {name: value for name, (value, _) in ratios.items()},
        }
        click.echo(json.dumps(result, indent=2))
        return
    versions = f"h5py {h5py.__version__}, HDF5 {h5py.version.hdf5_version}"
    click.echo(f"{len(pictures)} images {RESOLUTION}x{RESOLUTION}, gzip-4 at {stored:.0%} of raw; {versions}")
    click.echo(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    for name, value in milliseconds.items():
        click.echo(f"  {name:20s} {value:7.2f} ms/image")
    for name, (value, bar) in ratios.items():
        click.echo(f"  {name:22s} {value:5.2f}x   (bar: {bar}x) {'ok' if value >= bar else 'BELOW'}")


def measure(paths: dict[str, Path], images: int, rounds: int) -> dict[str, float]:
    """Milliseconds per image of each way to read all images in a random order."""
    order = np.random.default_rng(0).permutation(images)
    one, two = (PyramidReader(paths["gzip"], threads=threads) for threads in (1, 2))
    uncompressed = PyramidReader(paths["none"], threads=1)
    with h5py.File(paths["gzip"]) as file, h5py.File(paths["none"]) as raw_file:
        dataset, raw = file[LEVEL], raw_file[LEVEL]
        offsets = [raw.id.get_chunk_info(i).byte_offset for i in range(images)]
        descriptor = os.open(paths["none"], os.O_RDONLY)

        def preadv() -> None:
            out = np.empty(raw.shape, np.uint8)
            for position, index in enumerate(order):
                os.preadv(descriptor, [out[position]], offsets[index])

        ways: dict[str, Callable[[], object]] = {
            "h5py d[i]": lambda: [dataset[i] for i in order],
            "read, 1 thread": lambda: one.read(order),
            "read, 2 threads": lambda: two.read(order),
            "preadv": preadv,
            "read, uncompressed": lambda: uncompressed.read(order),
        }
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                best[name] = min(best[name], time.perf_counter() - start)
        os.close(descriptor)
    return {name: seconds * 1e3 / images for name, seconds in best.items()}


def compare_codecs(pictures: NDArray[np.uint8]) -> None:
    """Print each codec's share of the raw size, and the processor time to encode all levels and to read."""
    for codec in CODECS:
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            blobs = [encode_image(picture, codec) for picture in pictures]
            encoding = time.process_time() - start
            with PyramidWriter(Path(folder) / "a.h5", RESOLUTION, codec=codec) as writer:
                for image_blobs in blobs:
                    writer.append_encoded(image_blobs)
            with PyramidReader(Path(folder) / "a.h5", threads=1) as reader:
                start = time.process_time()
                for i in range(len(reader)):
                    reader.read([i])
                reading = time.process_time() - start
        share = sum(len(blob) for image_blobs in blobs for blob in image_blobs) / (pictures.nbytes * 4 / 3)
        ms = 1e3 / len(pictures)
        click.echo(
            f"{codec:10s} {share:6.1%} of raw  encode {encoding * ms:6.1f}  read {reading * ms:6.1f} ms/image"
        )


def from_folder(folder: Path, count: int) -> NDArray[np.uint8]:
    """Centre squares of the photos in a folder, `[N, 3, 1024, 1024]` uint8."""
    files = sorted(path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES))
    return np.stack([to_square(load_photo(path)) for path in files[:count]])


def from_astronaut(count: int) -> NDArray[np.uint8]:
    """Different crops of skimage's astronaut, enlarged, with the grain that a camera would add."""
    from skimage.data import astronaut

    rng = np.random.default_rng(0)
    crops = []
    for _ in range(count):
        y, x = rng.integers(0, 192, 2)
        crop = to_square(astronaut()[y : y + 320, x : x + 320]).astype(np.float32)
        crops.append(np.clip(np.rint(crop + rng.normal(0, 2, crop.shape)), 0, 255).astype(np.uint8))
    return np.stack(crops)


def to_square(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Centre square `[3, 1024, 1024]` of a photo `[H, W, 3]`."""
    side = min(photo.shape[:2])
    y, x = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = cv2.resize(photo[y : y + side, x : x + side], (RESOLUTION,) * 2, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(square.transpose(2, 0, 1))


if __name__ == "__main__":
    main()
