"""How far the snapshots of a run are from the real images: the paper's figure 4."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from celebahq.errors import FormatError, ToolError
from celebahq.jobs.progress import Progress, silent
from celebahq.pyramid import PyramidReader
from swd.comparison import compare, make_cache
from swd.pipeline.resources import Resources
from swd.pipeline.sources import ImageSet, Shape, fit
from swd.report import Report
from trainer.storage.runs import REALS_CACHE
from trainer.use.grids import enlarge
from trainer.use.snapshot import Snapshot, open_snapshot


class SnapshotImages(ImageSet):
    """Images of a seed, made when they are asked for.

    Networks that have not grown to `size` are judged by their images enlarged, as the original's networks
    return them.
    """

    def __init__(self, snapshot: Snapshot, count: int, size: int, seed: int) -> None:
        super().__init__(f"{snapshot.nimg / 1000:.1f} kimg")
        self.snapshot, self.count, self.size, self.seed = snapshot, count, size, seed

    def __len__(self) -> int:
        return self.count

    def shapes(self, indices: Sequence[int]) -> "Counter[Shape]":
        """See `ImageSet`."""
        channels = self.snapshot.config.generator.channels
        return Counter({(channels, self.size, self.size): len(indices)})

    def read(self, indices: Sequence[int], resolution: int) -> NDArray[np.uint8]:
        """See `ImageSet`."""
        images = enlarge(self.snapshot.generate(self.seed, indices), self.size).numpy()
        return np.stack([fit(image, resolution) for image in images])


def evaluate(
    files: Sequence[Path],
    data: Path,
    device: torch.device,
    *,
    images: int | None = None,
    resolution: int | None = None,
    seed: int = 0,
    metrics: Sequence[str] = ("swd", "msssim"),
    progress: Progress = silent,
) -> Report:
    """Compare snapshots, those of a run say, with the data that it was trained on.

    Args:
        files: The snapshots.
        data: The pyramid file.
        device: Where images are made and compared.
        images: Per set; unless told, as many as there are real ones, at most 16,384.
        resolution: A power of two from 16 to that of the grown network, which it is unless told.
        seed: Of the generated images and of the metric.
        metrics: `swd`, `msssim` or both.
        progress: Called as images are made and compared.

    Raises:
        ToolError: The networks never have that resolution.
    """
    loaded = [open_snapshot(file, device) for file in files]
    full = max(one.config.generator.resolution for one in loaded)  # a run may have been lengthened
    size = resolution or full
    if resolution and not (16 <= resolution <= full and resolution & (resolution - 1) == 0):
        raise ToolError(
            f"--resolution {resolution}", f"must be a power of two from 16 to the network's {full}"
        )
    with PyramidReader(data) as reals:
        count = min(len(reals), images or 16_384)
    fakes = [SnapshotImages(one, count, max(size, one.resolution), seed) for one in loaded]
    return compare(
        data,
        by_name(fakes),
        images=count,
        resolution=size,
        seed=seed,
        metrics=metrics,
        paired=True,  # one seed's latents for all
        device=device,
        threads=1,
        on_progress=progress,
    )


def by_name(fakes: Sequence[SnapshotImages]) -> Mapping[str, SnapshotImages]:
    """The sets by their kimg, with as many digits as tell them apart."""
    if len({fake.name for fake in fakes}) == len(fakes):
        return {fake.name: fake for fake in fakes}
    return {f"{fake.snapshot.nimg / 1000:.3f} kimg": fake for fake in fakes}


def measure_snapshot(
    snapshot: Snapshot, data: Path, folder: Path, device: torch.device, *, images: int, size: int
) -> dict[str, float]:
    """SWD (x 1000) per level and averaged, and MS-SSIM, of one snapshot.

    Args:
        snapshot: The generator.
        data: The real images; what the distance needs of them is kept in `folder` for the next snapshot.
        folder: The run's.
        device: Where images are made and compared.
        images: Per set, at most.
        size: The run's full resolution.
    """
    with PyramidReader(data) as reals:
        count = min(len(reals), images)
    cache = folder / REALS_CACHE
    fakes = {"snapshot": SnapshotImages(snapshot, count, size, seed=0)}

    def measured() -> Report:
        if not cache.exists():
            make_cache(data, cache, images=count, resolution=size, resources=Resources(device))
        return compare(
            cache,
            fakes,
            images=count,
            resolution=size,
            metrics=("swd", "msssim"),
            device=device,
            threads=1,
        )

    try:
        report = measured()
    except FormatError:  # damaged, or of an earlier version: the data are there to make another
        cache.unlink(missing_ok=True)
        report = measured()
    (row,) = report.fakes
    distance, similarity = row.distance, row.similarity
    assert distance is not None
    assert similarity is not None
    levels = {f"swd_{resolution}": estimate.value for resolution, estimate in distance.levels.items()}
    return {**levels, "swd": distance.average.value, "ms_ssim": similarity.value}
