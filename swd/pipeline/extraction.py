"""One pass over a set's images: read, split into levels, cut patches, in a few threads."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from swd.method.descriptors import describe
from swd.method.protocol import Protocol
from swd.method.threads import in_threads
from swd.pipeline.resources import Resources
from swd.pipeline.sources import ImageSet
from swd.pipeline.store import DescriptorStore

T = TypeVar("T")

# Larger batches leave the processor's cache and are slower.
_BATCH_PIXELS = 1 << 19


def extract(
    images: ImageSet,
    indices: Sequence[int],
    protocol: Protocol,
    resources: Resources,
    *,
    set_id: int,
    draws: Sequence[int] = (0,),
    stage: str,
) -> list[DescriptorStore]:
    """Cut random patches out of some images of a set.

    Args:
        images: The set.
        indices: Of the images to take; each process takes its share of them.
        protocol: Resolution, patches, seed.
        resources: Device, threads and processes.
        set_id: `REALS` or `FAKES`.
        draws: Each gives patches of its own.
        stage: Name in the progress report.

    Returns:
        Per draw, this process's descriptors.

    Raises:
        FormatError: An image is damaged.
    """
    mine = resources.world.share(indices)
    stores = [DescriptorStore(protocol, len(mine)) for _ in draws]

    def cut(batch: Sequence[int]) -> list[list[Tensor]]:
        pixels = torch.from_numpy(images.read(batch, protocol.resolution)).to(resources.device)
        return describe(
            pixels,
            torch.tensor(batch, device=resources.device),
            set_id=set_id,
            patches=protocol.patches,
            seed=protocol.seed,
            draws=draws,
        )

    batches = in_batches(mine, protocol.resolution)
    with resources.progress(stage, len(mine), "images") as advance:
        for batch, described in zip(batches, in_threads(cut, batches, resources.workers), strict=True):
            for store, levels in zip(stores, described, strict=True):
                store.append(levels)
            advance(len(batch))
    return stores


def in_batches(items: Sequence[T], resolution: int) -> list[Sequence[T]]:
    """Split into batches of a size that suits images of `resolution`."""
    size = max(1, min(64, _BATCH_PIXELS // resolution**2))
    return [items[start : start + size] for start in range(0, len(items), size)]
