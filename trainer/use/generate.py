"""Generated images into a folder, a zip file or an HDF5 pyramid."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celebahq.files import atomic_folder, atomic_zip, refuse_existing
from celebahq.jobs.progress import Progress, Stage, silent
from celebahq.pictures.encoding import encode_png
from celebahq.pyramid import PyramidWriter
from trainer.use.snapshot import Snapshot, block_size

Pixels = NDArray[np.uint8]
Sink = Callable[[list[str], Pixels], None]


def generate_to(
    snapshot: Snapshot,
    out: Path,
    *,
    num: int,
    seed: int,
    overwrite: bool = False,
    progress: Progress = silent,
) -> None:
    """Write images 0 .. num-1 of a seed.

    Args:
        snapshot: The generator.
        out: `*.h5`: a pyramid; `*.zip`: PNG files in a zip; anything else: a folder of PNG files.
        num: How many.
        seed: Key of all images.
        overwrite: Replace a file that is there; a folder is never replaced.
        progress: Called as images are made.

    Raises:
        ToolError: `out` exists already.
    """
    refuse_existing(out, overwrite=overwrite)
    size = block_size(snapshot.resolution)
    with _open_sink(snapshot, out, [seed]) as write:
        for first in range(0, num, size):
            indices = range(first, min(first + size, num))
            write([f"{i:08d}.png" for i in indices], snapshot.generate(seed, indices).numpy())
            progress(Stage("generate", indices.stop, num))


def generate_seeds_to(
    snapshot: Snapshot,
    out: Path,
    seeds: Sequence[int],
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> None:
    """Write the first image of each seed, in files `seedN.png`; arguments as for `generate_to`."""
    refuse_existing(out, overwrite=overwrite)
    with _open_sink(snapshot, out, seeds) as write:
        for done, seed in enumerate(seeds, 1):
            write([f"seed{seed}.png"], snapshot.generate(seed, [0]).numpy())
            progress(Stage("generate", done, len(seeds)))


@contextmanager
def _open_sink(snapshot: Snapshot, out: Path, seeds: Sequence[int]) -> Iterator[Sink]:
    if out.suffix.lower() in (".h5", ".hdf5"):
        channels = snapshot.config.generator.channels
        facts = {"generator": snapshot.config.name, "nimg": snapshot.nimg}
        provenance = {**facts, **({"seed": seeds[0]} if len(seeds) == 1 else {"seeds": list(seeds)})}
        with PyramidWriter(
            out, snapshot.resolution, channels, provenance=provenance, overwrite=True
        ) as pyramid:
            yield lambda _, images: pyramid.append(images)
    elif out.suffix.lower() == ".zip":
        with atomic_zip(out) as write:
            yield lambda names, images: _write_pngs(names, images, write)
    else:
        with atomic_folder(out) as partial:
            yield lambda names, images: _write_pngs(
                names, images, lambda name, data: (partial / name).write_bytes(data)
            )


def _write_pngs(names: list[str], images: Pixels, write: Callable[[str, bytes], object]) -> None:
    for name, image in zip(names, images, strict=True):
        write(name, encode_png(image.transpose(1, 2, 0)))
