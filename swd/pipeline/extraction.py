"""One pass over a set's images: read, split into levels, cut patches, in a few threads."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from swd.method.copies import cluster, content_keys, count_different
from swd.method.descriptors import describe, normalize_descriptors
from swd.method.measured import Sample
from swd.method.protocol import Protocol
from swd.method.threads import in_threads
from swd.pipeline.resources import Resources
from swd.pipeline.sources import ImageSet
from swd.pipeline.store import DescriptorStore

T = TypeVar("T")

# Larger batches leave the processor's cache and are slower.
_BATCH_PIXELS = 1 << 19


class Extracted:
    """Descriptors of a set's images; each process has its own images', and all gather a level together."""

    def __init__(self, store: DescriptorStore, keys: Tensor, patches: int, resources: Resources) -> None:
        """Args: `keys` are the images' `content_keys` `[N]`, all processes'."""
        self.keys = keys
        self._store, self._patches, self._resources = store, patches, resources

    def load(self, level: int) -> Tensor:
        """A level's descriptors, normalised: `[N * patches, C * 49]` float32."""
        patches = self.load_patches(level)
        return normalize_descriptors(patches, out=patches)

    def load_patches(self, level: int) -> Tensor:
        """Before normalisation, `[N * patches, C, 7, 7]`."""
        return self._resources.world.gather_rows(self._store.load(level, self._resources.device))

    def load_parts(self, level: int, parts: Sequence[Tensor]) -> list[Tensor]:
        """As `load`, of some of the images `[n]`, each part normalised by itself."""
        images = torch.unflatten(self.load_patches(level), 0, (-1, self._patches))
        chosen = [images[part.to(images.device)].flatten(0, 1) for part in parts]
        return [normalize_descriptors(patches, out=patches) for patches in chosen]


def extract(
    images: ImageSet,
    indices: Sequence[int],
    protocol: Protocol,
    resources: Resources,
    *,
    set_id: int,
    draws: Sequence[int] = (0,),
    stage: str,
) -> list[Extracted]:
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
        Per draw, the descriptors.

    Raises:
        FormatError: An image is damaged.
    """
    mine = resources.world.share(indices)
    stores = [DescriptorStore(protocol, len(mine)) for _ in draws]
    keys = [torch.empty(0, dtype=torch.int64)]

    def cut(batch: Sequence[int]) -> tuple[Tensor, list[list[Tensor]]]:
        pixels = torch.from_numpy(images.read(batch, protocol.resolution)).to(resources.device)
        described = describe(
            pixels,
            torch.tensor(batch),
            set_id=set_id,
            patches=protocol.patches,
            seed=protocol.seed,
            draws=draws,
        )
        return content_keys(pixels), described

    batches = in_batches(mine, protocol.resolution)
    with resources.progress(stage, len(mine), "images") as advance:
        for batch, (of_batch, described) in zip(
            batches, in_threads(cut, batches, resources.workers), strict=True
        ):
            keys.append(of_batch)
            for store, levels in zip(stores, described, strict=True):
                store.append(levels)
            advance(len(batch))
    gathered = resources.world.gather_rows(torch.cat(keys))
    return [Extracted(store, gathered, protocol.patches, resources) for store in stores]


def halves(clusters: Tensor) -> tuple[Tensor, Tensor] | None:
    """The images `[N]` in two parts without a common one; None if there are not two different ones."""
    numbers = cluster(clusters)
    if len(numbers) == 0 or int(numbers.max()) == 0:
        return None
    first, second = ((numbers % 2 == parity).nonzero().flatten() for parity in (0, 1))
    return first, second


def say_copies(name: str, keys: Tensor, resources: Resources) -> None:
    """Warn of images that are there more than once; their `keys` `[N]` are equal."""
    different = count_different(keys)
    if different < len(keys):
        resources.warn(
            f"{name}: {len(keys):,} images, of which {different:,} are different (the others are equal, or "
            "mirrored); copies count once in the standard errors"
        )


def whole_sample(population: str, keys: Tensor) -> Sample:
    """A set that is all there is of its population."""
    return Sample(population, torch.arange(len(keys)), cluster(keys))


def in_batches(items: Sequence[T], resolution: int) -> list[Sequence[T]]:
    """Split into batches of a size that suits images of `resolution`."""
    size = max(1, min(64, _BATCH_PIXELS // resolution**2))
    return [items[start : start + size] for start in range(0, len(items), size)]
