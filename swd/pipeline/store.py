"""Where a set's descriptors wait between the pass over the images and the distances."""

import tempfile
from collections.abc import Sequence
from typing import IO

import numpy as np
import torch
from torch import Tensor

from swd.method.descriptors import NHOOD_SIZE
from swd.method.protocol import Protocol
from swd.pipeline.room import full_disk_named, require_room

REMEDY = "let TMPDIR name a folder with more room, or use fewer --images"

MEMORY_BYTES = 1 << 30
"""A larger set of descriptors waits in temporary files."""


def descriptor_bytes(protocol: Protocol, images: int) -> int:
    """Size of the descriptors of so many images, on all levels together."""
    return images * len(protocol.resolutions) * protocol.patches * protocol.descriptor_size * 4


def reserve_room(protocol: Protocol, images: Sequence[int], processes: int) -> str | None:
    """Check that the temporary files of some stores will fit.

    Args:
        protocol: What a descriptor is.
        images: Number of images of each store, over all processes.
        processes: Among which they are divided.

    Returns:
        What to tell the user, or None if memory suffices.

    Raises:
        ToolError: There is less room than they take.
    """
    sizes = [descriptor_bytes(protocol, count) for count in images]
    needed = sum(size for size in sizes if size > MEMORY_BYTES * processes)
    folder = tempfile.gettempdir()
    require_room(folder, needed, "descriptors", REMEDY)
    return f"descriptors: {needed / 1e9:.1f} GB in temporary files in {folder}" if needed else None


class DescriptorStore:
    """Patches of one set: appended batch by batch, loaded a whole level at a time.

    The files have no name: they are gone when the process ends, however it ends.
    """

    def __init__(self, protocol: Protocol, images: int) -> None:
        """Args: `images` is the number to expect."""
        self._shape = (protocol.channels, NHOOD_SIZE, NHOOD_SIZE)
        levels = range(len(protocol.resolutions))
        self._parts: list[list[Tensor]] = [[] for _ in levels]
        self._files: list[IO[bytes]] = []
        if descriptor_bytes(protocol, images) > MEMORY_BYTES:
            self._files = [tempfile.TemporaryFile(prefix="swd-") for _ in levels]  # noqa: SIM115

    def __del__(self) -> None:
        for file in self._files:
            file.close()

    def append(self, levels: Sequence[Tensor]) -> None:
        """Add a batch: per level `[m, C, 7, 7]` float32."""
        for number, patches in enumerate(levels):
            if self._files:
                with full_disk_named(tempfile.gettempdir(), REMEDY):
                    self._files[number].write(patches.cpu().contiguous().numpy().data)
                    self._files[number].flush()
            else:
                self._parts[number].append(patches.cpu())

    def load(self, level: int, device: torch.device) -> Tensor:
        """All patches of a level, `[M, C, 7, 7]` float32, in the order they came."""
        if not self._files:
            return torch.cat([torch.empty(0, *self._shape), *self._parts[level]]).to(device)
        self._files[level].seek(0)
        patches = np.fromfile(self._files[level], np.float32).reshape(-1, *self._shape)
        return torch.from_numpy(patches).to(device)
