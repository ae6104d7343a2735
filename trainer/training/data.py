"""Real images at the current resolution, in an order that only the seed decides."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celebahq.errors import ToolError
from celebahq.processes import processes_here
from celebahq.pyramid import PyramidReader, one_hot
from trainer.configuration.config import TrainingConfig
from trainer.randomness import Indices, Stream, keyed_bits, keyed_choice, keyed_permutation
from trainer.training.plan import StepPlan

READ_AHEAD = 4  # minibatches
CACHE_BYTES = 4 << 30  # a level up to this size is kept in memory, as the original does
CACHE_SLICE = 4096  # images


@dataclass(frozen=True)
class Share:
    """What one process needs of every minibatch: these rows of it, at this resolution."""

    resolution: int
    minibatch: int
    rows: tuple[int, ...]


class RealImages(Protocol):
    """What a training step needs of its data; see `TrainingData`."""

    def next(self, first: int, plan: StepPlan) -> tuple[Tensor, Tensor | None]:
        """The images and labels of the minibatch that starts at this position."""

    def drawn_labels(self, stream: Stream, positions: Indices) -> Tensor | None:
        """Labels for generated images."""


class TrainingData:
    """Serves minibatches of one pyramid file.

    The image at `position` p (the number of images shown before it) is number p mod N of the permutation
    of epoch p // N, mirrored by a coin of its own. Both are keyed to (seed, position) alone, so the order
    depends on neither threads nor processes, and a resumed run continues in mid-epoch.
    """

    def __init__(
        self, path: Path, *, seed: int, mirror: bool, use_labels: bool = True, cache_bytes: int = CACHE_BYTES
    ) -> None:
        """Open the file; nothing is read before `next`."""
        self.reader = PyramidReader(path)
        self.seed, self.mirror, self.cache_bytes = seed, mirror, cache_bytes
        self.labels = self.reader.labels if use_labels else None  # [N, L] float32
        if len(self.reader) == 0:
            raise ToolError(path, "holds no images")
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="reals")
        self._pending: deque[tuple[int, Future[tuple[Tensor, Tensor | None]]]] = deque()
        self._share = Share(0, 0, ())
        self._level: NDArray[np.uint8] | None = None
        self._order: tuple[int, Indices] | None = None

    def __len__(self) -> int:
        return len(self.reader)

    def next(self, first: int, plan: StepPlan) -> tuple[Tensor, Tensor | None]:
        """This process's rows of the minibatch that starts at position `first`.

        The next minibatches of the same plan are read ahead.

        Returns:
            Images `[n, C, r, r]` uint8 and labels `[n, L]` float32 (None without labels), on the CPU.
        """
        share = Share(plan.resolution, plan.minibatch, tuple(plan.rows.tolist()))
        if share != self._share:
            self._forget_read_ahead()
            if share.resolution != self._share.resolution:
                self._level = self._cache_level(share.resolution)
            self._share = share
        if self._pending and self._pending[0][0] != first:
            self._forget_read_ahead()
        while len(self._pending) < READ_AHEAD:
            ahead = first + len(self._pending) * share.minibatch
            self._pending.append(
                (ahead, self._executor.submit(self._load, ahead + plan.rows, share.resolution))
            )
        return self._pending.popleft()[1].result()

    def indices(self, positions: Indices) -> Indices:
        """Which image of the file is shown at each position, `[n]`."""
        count = len(self)
        chosen = np.empty_like(positions)
        for epoch in np.unique(positions // count):
            here = positions // count == epoch
            chosen[here] = self._epoch_order(int(epoch))[positions[here] % count]
        return chosen

    def first_images(self, count: int, resolution: int) -> Tensor:
        """The images at the first positions, not mirrored: `[count, C, r, r]` uint8."""
        return torch.from_numpy(self.reader.read(self.indices(np.arange(count)), resolution))

    def drawn_labels(self, stream: Stream, positions: Indices) -> Tensor | None:
        """Labels for generated images, rows of the data set drawn at random: `[n, L]` or None."""
        if self.labels is None:
            return None
        return torch.from_numpy(self.labels[keyed_choice(self.seed, stream, positions, len(self))])

    def close(self) -> None:
        """Stop reading ahead and close the file."""
        self._forget_read_ahead()
        self._executor.shutdown()
        self.reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self, positions: Indices, resolution: int) -> tuple[Tensor, Tensor | None]:
        indices = self.indices(positions)
        images = self._read(indices, resolution)  # [n, C, r, r]
        if self.mirror:
            flip = (keyed_bits(self.seed, Stream.MIRROR, positions)[:, 0] & np.uint64(1)).astype(bool)
            images[flip] = images[flip, :, :, ::-1]
        labels = None if self.labels is None else torch.from_numpy(self.labels[indices])
        return torch.from_numpy(images), labels

    def _read(self, indices: Indices, resolution: int) -> NDArray[np.uint8]:
        if self._level is not None:
            return self._level[indices]
        return np.asarray(self.reader.read(indices, resolution), dtype=np.uint8)

    def _cache_level(self, resolution: int) -> NDArray[np.uint8] | None:
        shape = (len(self), self.reader.channels, resolution, resolution)
        self._level = None  # let the old level go before the new one is read
        if np.prod(shape, dtype=np.int64) > self.cache_bytes:
            return None
        level = np.empty(shape, dtype=np.uint8)
        for start in range(0, len(self), CACHE_SLICE):
            stop = min(start + CACHE_SLICE, len(self))
            level[start:stop] = self.reader.read(np.arange(start, stop), resolution)
        return level

    def _epoch_order(self, epoch: int) -> Indices:
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, keyed_permutation(self.seed, Stream.DATA_ORDER, epoch, len(self)))
        return self._order[1]

    def _forget_read_ahead(self) -> None:
        while self._pending:
            self._pending.popleft()[1].cancel()
        # The thread may still be busy with one minibatch of the old level.
        self._executor.submit(int).result()


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of this process's on its device, without waiting for what the device is still doing.

    Only from pinned memory does CUDA copy without the process waiting.
    """
    if device.type == "cuda" and torch.cuda.is_available():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def to_network_range(images: Tensor) -> Tensor:
    """uint8 0 .. 255 to float32 -1 .. 1."""
    return images.to(torch.float32) * (2.0 / 255.0) - 1.0


def open_data(config: TrainingConfig, path: Path) -> TrainingData:
    """Open the reals and check that they are what the networks were configured for.

    Raises:
        ToolError: Too small, other channels or other labels; says which setting would fit.
    """
    network = config.generator
    reals = TrainingData(
        path,
        seed=config.train.seed,
        mirror=config.data.mirror,
        use_labels=network.label_size > 0,
        cache_bytes=CACHE_BYTES // processes_here(),
    )
    reader = reals.reader
    found_labels = 0 if reals.labels is None else reals.labels.shape[1]
    for name, wanted, found, fits in (
        ("resolution", network.resolution, reader.resolution, reader.resolution >= network.resolution),
        ("channels", network.channels, reader.channels, reader.channels == network.channels),
        ("label_size", network.label_size, found_labels, found_labels == network.label_size),
    ):
        if not fits:
            reals.close()
            raise ToolError(
                path, f"{name} {found}, but {config.name} has {wanted}; --set {name}={found} fits"
            )
    if reals.labels is not None and one_hot(reals.labels) is None:
        reals.close()
        raise ToolError(
            path,
            "its labels are not one-hot (a single 1 per image), which is what networks with labels "
            "learn from; --set label_size=0 leaves the labels out",
        )
    return reals
