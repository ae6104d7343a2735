"""Videos: a walk through latent space, and the progress of a run."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter1d

from celebahq.console import Progress
from celebahq.errors import MissingExtraError, ToolError
from celebahq.files import atomic_path
from trainer.grids import enlarge, image_grid, to_uint8
from trainer.randomness import Stream, keyed_normal
from trainer.snapshot import Snapshot

Frame = npt.NDArray[np.uint8]


def interpolation_latents(
    seed: int, frames: int, images: int, latent_size: int, sigma_frames: float
) -> npt.NDArray[np.float32]:
    """Latents that wander smoothly and end where they began.

    White noise, smoothed over time by a Gaussian that wraps around, and divided by its root mean square.

    Returns:
        `[frames, images, latent_size]` float32.

    Source: the interpolation videos of the paper and its original code.
    """
    noise = keyed_normal(seed, Stream.VIDEO, np.arange(frames), images * latent_size)
    smooth = gaussian_filter1d(noise.astype(np.float64), sigma_frames, axis=0, mode="wrap")
    smooth /= np.sqrt(np.mean(smooth**2))
    latents: npt.NDArray[np.float32] = smooth.reshape(frames, images, latent_size).astype(np.float32)
    return latents


def interpolation_frames(
    snapshot: Snapshot, *, seed: int, frames: int, columns: int, rows: int, sigma_frames: float, size: int
) -> Iterator[Frame]:
    """The frames of an interpolation, `[rows * size, columns * size, C]` uint8; labels stay fixed."""
    count = columns * rows
    latents = interpolation_latents(seed, frames, count, snapshot.config.generator.latent_size, sigma_frames)
    labels = snapshot.labels(seed, range(count))
    for frame in torch.from_numpy(latents):
        with torch.no_grad():
            images = snapshot.generator(frame.to(snapshot.device), labels, snapshot.lod)
        yield image_grid(to_uint8(enlarge(images, size)), columns)


def progress_frames(
    snapshots: Iterable[Snapshot], *, seed: int, columns: int, rows: int, size: int
) -> Iterator[Frame]:
    """One frame per snapshot of a run: the same latents as the network learns."""
    for snapshot in snapshots:
        images = snapshot.generate(seed, range(columns * rows))
        yield image_grid(enlarge(images, size), columns)


def write_video(path: Path, frames: Iterable[Frame], *, total: int, fps: float) -> None:
    """Write H.264 MP4.

    Raises:
        MissingExtraError: `imageio-ffmpeg` is not installed.
        ToolError: No frames, or the encoder failed.
    """
    try:
        from imageio_ffmpeg import write_frames
    except ImportError as err:
        raise MissingExtraError("imageio-ffmpeg", "video", "writing videos") from err
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise ToolError(f"{path}: not written, there are no frames")
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2  # H.264 wants even sides
    with atomic_path(path) as partial, Progress("video", total, unit="frames") as progress:
        encoder = write_frames(
            str(partial),
            (width, height),
            fps=fps,
            codec="libx264",
            quality=8,
            macro_block_size=2,
            output_params=["-f", "mp4"],
        )
        encoder.send(None)
        for frame in chain([first], iterator):
            encoder.send(_rgb(frame[:height, :width]))
            progress.advance()
        encoder.close()


def _rgb(frame: Frame) -> Frame:
    return np.ascontiguousarray(np.broadcast_to(frame, (*frame.shape[:2], 3)))
