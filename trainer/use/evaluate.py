"""How far the snapshots of a run are from the real images: the paper's figure 4."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from celebahq.console import Progress
from celebahq.errors import ToolError
from celebahq.pyramid import PyramidReader, PyramidWriter
from swd.comparison import compare
from swd.report import Report
from trainer.storage.checkpoint import snapshots
from trainer.use.grids import enlarge
from trainer.use.snapshot import Snapshot, block_size, load_snapshot


def evaluate_run(
    run: Path,
    data: Path,
    device: torch.device,
    *,
    images: int | None = None,
    resolution: int | None = None,
    seed: int = 0,
    metrics: Sequence[str] = ("swd", "msssim"),
) -> Report:
    """Compare every snapshot of a run with the data that it was trained on.

    Args:
        run: The run folder.
        data: Its pyramid file.
        device: Where images are made and compared.
        images: Per set; unless told, as many as there are real ones, at most 16,384.
        resolution: A power of two from 16 to that of the grown network, which it is unless told.
        seed: Of the generated images and of the metric.
        metrics: `swd`, `msssim` or both.

    Raises:
        ToolError: The run has no snapshots, its networks never have that resolution, or its disk has no room
            for the generated images.
    """
    files = snapshots(run)
    if not files:
        raise ToolError(f"{run}: holds no snapshots/snapshot-*.safetensors")
    with tempfile.TemporaryDirectory(dir=run, prefix="evaluation-") as folder:
        return evaluate(
            files,
            data,
            Path(folder),
            device,
            images=images,
            resolution=resolution,
            seed=seed,
            metrics=metrics,
        )


def evaluate(
    files: Sequence[Path],
    data: Path,
    folder: Path,
    device: torch.device,
    *,
    images: int | None,
    resolution: int | None,
    seed: int,
    metrics: Sequence[str],
) -> Report:
    """Compare snapshot files with real images; arguments as for `evaluate_run`.

    Generated images lie in `folder` meanwhile. Networks that have not grown that far are judged by their
    images enlarged, as the original's networks return them.
    """
    full = load_snapshot(files[0]).config.generator.resolution
    size = resolution or full
    if resolution and not (16 <= resolution <= full and resolution & (resolution - 1) == 0):
        raise ToolError(f"--resolution {resolution}: must be a power of two from 16 to the network's {full}")
    with PyramidReader(data) as reals:
        count = min(len(reals), images or 16_384)
        needed = count * reals.channels * full**2 * len(files)
    if needed > shutil.disk_usage(folder).free:
        raise ToolError(f"{folder}: generated images take up to {needed / 1e9:.1f} GB there; use --images")
    fakes: dict[str, Path] = {}
    for file in files:
        snapshot = load_snapshot(file, device)
        path = folder / f"{snapshot.nimg / 1000:09.1f}-kimg.h5"
        _write_images(snapshot, path, count, max(size, snapshot.resolution), seed)
        fakes[f"{snapshot.nimg / 1000:.1f} kimg"] = path
    return compare(
        data,
        fakes,
        images=count,
        resolution=size,
        seed=seed,
        metrics=metrics,
        device=device,
        threads=1,
    )


def measure_snapshot(path: Path, data: Path, device: torch.device, *, images: int) -> dict[str, float]:
    """SWD (x 1000) per level and averaged, and MS-SSIM, of one snapshot at full resolution."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="evaluation-") as folder:
        report = evaluate(
            [path],
            data,
            Path(folder),
            device,
            images=images,
            resolution=None,
            seed=0,
            metrics=("swd", "msssim"),
        )
    (row,) = report.fakes
    distance, similarity = row.distance, row.similarity
    assert distance is not None
    assert similarity is not None
    levels = {f"swd_{resolution}": estimate.value for resolution, estimate in distance.levels.items()}
    return {**levels, "swd": distance.average.value, "ms_ssim": similarity.value}


def _write_images(snapshot: Snapshot, path: Path, count: int, size: int, seed: int) -> None:
    step = block_size(snapshot.resolution)
    channels = snapshot.config.generator.channels
    with PyramidWriter(path, size, channels) as pyramid, Progress(path.stem, count) as progress:
        for first in range(0, count, step):
            indices = range(first, min(first + step, count))
            pyramid.append(enlarge(snapshot.generate(seed, indices), size).numpy())
            progress.advance(len(indices))
