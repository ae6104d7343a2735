"""Filters of HDF5 that could halve the files: size and processor time of each, on photos of your own.

    python tools/bench_codecs.py ~/photos --images 24

The largest level alone, one image to a chunk, written and read through HDF5 in turns; the smallest time of
all rounds counts. `png` is no filter, but what prediction before deflate can reach.
"""

import io
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import cv2
import h5py
import hdf5plugin
import numpy as np
from bench_io import from_astronaut, from_folder
from PIL import Image

SMALLER, ROUNDS = 0.7, 3
BLOSC2 = hdf5plugin.Blosc2
FILTERS: dict[str, Mapping[str, Any]] = {
    "gzip 4 (today)": {"compression": "gzip", "compression_opts": 4},
    "gzip 9": {"compression": "gzip", "compression_opts": 9},
    "szip nn": {"compression": "szip", "compression_opts": ("nn", 32)},
    "bitshuffle zstd": hdf5plugin.Bitshuffle(cname="zstd", clevel=5),
    "blosc2 zstd bits": BLOSC2(cname="zstd", clevel=3, filters=BLOSC2.BITSHUFFLE),
    "blosc2 zstd delta": BLOSC2(cname="zstd", clevel=5, filters=BLOSC2.DELTA),
    "zstd 9": hdf5plugin.Zstd(clevel=9),
    "bzip2": hdf5plugin.BZip2(blocksize=9),
    "JPEG-LS, planes": hdf5plugin.FciDecomp(),  # takes two dimensions, which no pyramid has
}


@click.command()
@click.argument("photos", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--images", default=16, show_default=True, type=click.IntRange(min=2))
def main(photos: Path | None, images: int) -> None:
    """Print a row for each filter, and whether it is 30 % smaller at no more time for reading."""
    pictures = from_folder(photos, images) if photos else from_astronaut(images)
    rows: dict[str, tuple[float, float, float]] = {}
    for name, options in FILTERS.items():
        try:
            flat = pictures.reshape(-1, pictures.shape[3])
            planes = name.endswith("planes")
            rows[name] = measured(flat if planes else pictures, options, images, planes=planes)
        except (ValueError, RuntimeError, OSError) as err:  # not in this build of HDF5
            print(f"{name:22s} of no use: {str(err).splitlines()[0]}")
    for name, kind in (("png 6", {"compress_level": 6}), ("jpeg 2000", {"format": "JPEG2000"})):
        rows[name] = measured_pictures(pictures, kind)
    size, _, reading = rows["gzip 4 (today)"]
    for name, (share, write_ms, read_ms) in rows.items():
        met = share <= SMALLER * size and read_ms <= reading
        print(f"{name:22s} {share:6.1%} of raw  write {write_ms:6.0f}  read {read_ms:6.1f} ms  {'met' * met}")


def measured(
    pictures: np.ndarray, options: Mapping[str, Any], images: int, *, planes: bool
) -> tuple[float, float, float]:
    """Share of the raw size, and milliseconds per image to write and to read."""
    chunk = (pictures.shape[1],) * 2 if planes else (1, *pictures.shape[1:])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"

        def write() -> None:
            with h5py.File(path, "w") as file:
                file.create_dataset("a", data=pictures, chunks=chunk, **options)

        def read() -> None:
            with h5py.File(path) as file:
                for start in range(0, len(pictures), chunk[0]):
                    part = slice(start, start + chunk[0])
                    if not np.array_equal(file["a"][part], pictures[part]):
                        raise ValueError("it gives other pixels back")

        write_ms, read_ms = least(write, images), least(read, images)
        with h5py.File(path) as file:
            return file["a"].id.get_storage_size() / pictures.nbytes, write_ms, read_ms


def measured_pictures(pictures: np.ndarray, options: Mapping[str, Any]) -> tuple[float, float, float]:
    """The same of picture files in memory."""
    options = {"format": "PNG", **options}
    encoded: list[bytes] = []

    def write() -> None:
        encoded.clear()
        for picture in pictures:
            buffer = io.BytesIO()
            Image.fromarray(picture.transpose(1, 2, 0)).save(buffer, **options)
            encoded.append(buffer.getvalue())

    def read() -> None:
        for blob, picture in zip(encoded, pictures, strict=True):
            image = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR_RGB)
            assert image is not None
            assert np.array_equal(image.transpose(2, 0, 1), picture)

    write_ms, read_ms = least(write, len(pictures)), least(read, len(pictures))
    return sum(map(len, encoded)) / pictures.nbytes, write_ms, read_ms


def least(action: Callable[[], None], images: int) -> float:
    """Milliseconds of processor time per image."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        action()
        best = min(best, time.process_time() - start)
    return best * 1e3 / images


if __name__ == "__main__":
    main()
