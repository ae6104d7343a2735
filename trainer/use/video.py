"""Videos: a walk through latent space, and the progress of a run."""

from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from celebahq.errors import MissingExtraError, ToolError
from celebahq.files import atomic_path
from celebahq.jobs.progress import Progress, Stage, silent
from celebahq.pictures.grids import image_grid
from trainer.randomness import Stream, keyed_normal
from trainer.use.grids import enlarge, to_uint8
from trainer.use.options import VideoLayout
from trainer.use.snapshot import all_snapshots, open_snapshot

Frame = NDArray[np.uint8]


def interpolation_latents(
    seed: int, frames: int, images: int, latent_size: int, sigma_frames: float
) -> NDArray[np.float32]:
    """Latents that wander smoothly and end where they began.

    White noise, smoothed over time by a Gaussian that wraps around, and divided by its root mean square.

    Returns:
        `[frames, images, latent_size]` float32.

    Source: the interpolation videos of the paper and its original code.
    """
    noise = keyed_normal(seed, Stream.VIDEO, np.arange(frames), images * latent_size)
    smooth = gaussian_filter1d(noise.astype(np.float64), sigma_frames, axis=0, mode="wrap")
    smooth /= np.sqrt(np.mean(smooth**2))
    latents: NDArray[np.float32] = smooth.reshape(frames, images, latent_size).astype(np.float32)
    return latents


def write_interpolation(
    snapshot_path: Path,
    out: Path,
    layout: VideoLayout,
    *,
    seed: int,
    device: torch.device,
    progress: Progress = silent,
) -> float:
    """A walk through latent space; each image keeps its label. Gives the video's length in seconds."""
    snapshot = open_snapshot(snapshot_path, device)
    count = layout.columns * layout.rows
    frames = max(round(layout.duration_sec * layout.fps), 1)
    latents = interpolation_latents(
        seed, frames, count, snapshot.config.generator.latent_size, layout.smoothing_sec * layout.fps
    )
    labels = snapshot.labels(seed, range(count))
    side = layout.side(snapshot.resolution)

    def draw(frame: Tensor) -> Frame:
        with torch.no_grad():
            images = snapshot.generator(frame.to(device), labels, snapshot.lod)
        return image_grid(enlarge(to_uint8(images), side).cpu().numpy(), layout.columns)

    pictures = map(draw, torch.from_numpy(latents))
    write_video(out, pictures, total=frames, fps=layout.fps, progress=progress)
    return frames / layout.fps


def write_progress(
    run: Path,
    out: Path,
    layout: VideoLayout,
    *,
    seed: int,
    device: torch.device,
    progress: Progress = silent,
) -> float:
    """The same latents at every snapshot of a run, each shown for an equal part of the duration.

    Returns:
        The video's length in seconds; longer than was asked for where that has fewer frames than snapshots.
    """
    files = all_snapshots(run)
    total = max(round(layout.duration_sec * layout.fps), len(files))
    side = layout.side(open_snapshot(files[-1], device).config.generator.resolution)  # the highest

    def frames() -> Iterator[Frame]:
        for place, file in enumerate(files):
            repeats = (place + 1) * total // len(files) - place * total // len(files)
            snapshot = open_snapshot(file, device)
            images = snapshot.generate(seed, range(layout.columns * layout.rows))
            yield from repeat(image_grid(enlarge(images, side).numpy(), layout.columns), repeats)

    write_video(out, frames(), total=total, fps=layout.fps, progress=progress)
    return total / layout.fps


def write_video(
    path: Path, frames: Iterable[Frame], *, total: int, fps: float, progress: Progress = silent
) -> None:
    """Write H.264 MP4.

    Raises:
        MissingExtraError: `imageio-ffmpeg` is not installed.
        ToolError: No frames, or the encoder failed.
    """
    try:
        from imageio_ffmpeg import count_frames_and_secs, write_frames
    except ImportError as err:
        raise MissingExtraError("imageio-ffmpeg", "video", "writing videos") from err
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise ToolError(path, "not written, there are no frames")
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2  # H.264 wants even sides
    with atomic_path(path) as partial:
        encoder = write_frames(
            str(partial),
            (width, height),
            fps=fps,
            codec="libx264",
            quality=8,
            macro_block_size=2,
            output_params=["-f", "mp4"],
        )
        sent = 0
        try:
            encoder.send(None)
            for sent, frame in enumerate(chain([first], iterator), 1):
                encoder.send(_rgb(frame[:height, :width]))
                progress(Stage("frames", sent, total, unit="frames"))
            encoder.close()
            stored, _ = count_frames_and_secs(str(partial))
        except (OSError, RuntimeError) as err:  # the encoder is gone, or left what is no video
            raise ToolError(path, "not written: the encoder ended early; is the disk full?") from err
        if stored != sent:  # the encoder does not say that it could not write
            raise ToolError(path, f"not written: {stored} of {sent} frames were stored; is the disk full?")


def _rgb(frame: Frame) -> Frame:
    return np.ascontiguousarray(np.broadcast_to(frame, (*frame.shape[:2], 3)))
