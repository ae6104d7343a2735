"""Generated images into a folder, a zip file or an HDF5 pyramid."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from celebahq.console import Progress
from celebahq.files import atomic_folder, atomic_zip, refuse_existing
from celebahq.pictures.encoding import encode_png
from celebahq.pyramid import PyramidWriter
from trainer.use.snapshot import Snapshot, block_size

Pixels = npt.NDArray[np.uint8]
Sink = Callable[[int, Pixels], None]


def generate_to(snapshot: Snapshot, out: Path, *, num: int, seed: int) -> None:
    """Write images 0 .. num-1 of a seed.

    Args:
        snapshot: The generator.
        out: `*.h5`: a pyramid; `*.zip`: PNG files in a zip; anything else: a folder of PNG files.
        num: How many.
        seed: Key of all images.

    Raises:
        ToolError: `out` exists already.
    """
    refuse_existing(out)
    size = block_size(snapshot.resolution)
    with _open_sink(snapshot, out, seed) as write, Progress("generate", num) as progress:
        for first in range(0, num, size):
            last = min(first + size, num)
            write(first, snapshot.generate(seed, range(first, last)).numpy())
            progress.advance(last - first)


@contextmanager
def _open_sink(snapshot: Snapshot, out: Path, seed: int) -> Iterator[Sink]:
    if out.suffix in (".h5", ".hdf5"):
        channels = snapshot.config.generator.channels
        provenance = {"generator": snapshot.config.name, "nimg": snapshot.nimg, "seed": seed}
        with PyramidWriter(out, snapshot.resolution, channels, provenance=provenance) as pyramid:
            yield lambda _, images: pyramid.append(images)
    elif out.suffix == ".zip":
        with atomic_zip(out) as write:
            yield lambda first, images: _write_pngs(first, images, write)
    else:
        with atomic_folder(out) as partial:
            yield lambda first, images: _write_pngs(
                first, images, lambda name, data: (partial / name).write_bytes(data)
            )


def _write_pngs(first: int, images: Pixels, write: Callable[[str, bytes], object]) -> None:
    for offset, image in enumerate(images):
        write(f"{first + offset:08d}.png", encode_png(image.transpose(1, 2, 0)))
