"""The metric for training loops: fed batch by batch, on one or many processes."""

from typing import Any

import torch
from torch import Tensor, distributed
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from swd.method.descriptors import NHOOD_SIZE, describe, normalize_descriptors
from swd.method.laplacian import MIN_RESOLUTION, level_resolutions
from swd.method.randomness import FAKES, REALS, random_directions
from swd.pipeline.distance import Distance, Estimate, measure_level, summarize


class SlicedWassersteinDistance(Metric):
    """Sliced Wasserstein distance x 1000 between real and generated images, with standard errors.

    The descriptors of at most `num_images` images per set are kept: 0.5 MB per image at 1024 px, 0.3 MB at
    128 px. Under `torch.distributed` every process keeps its part and all parts are gathered to compute.

    Source: Karras et al. 2018, section 5.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = True

    real_descriptors: list[Tensor]
    real_indices: list[Tensor]
    real_seen: Tensor
    fake_descriptors: list[Tensor]
    fake_indices: list[Tensor]
    fake_seen: Tensor

    def __init__(
        self,
        *,
        num_images: int = 16_384,
        patches: int = 128,
        repeats: int = 4,
        directions_per_repeat: int = 128,
        seed: int = 0,
        store_on: torch.device | str = "cpu",
        **kwargs: Any,
    ) -> None:
        """Set the protocol; the defaults are the published one.

        Args:
            num_images: Of each set, over all processes; further ones are ignored.
            patches: Per image and level.
            repeats: Of the random directions.
            directions_per_repeat: Number of directions in each.
            seed: Key of all randomness.
            store_on: Device to keep descriptors on. To be gathered with NCCL they must be on the GPU.
            kwargs: For `torchmetrics.Metric`.
        """
        super().__init__(**kwargs)
        if min(num_images, patches, repeats, directions_per_repeat) < 1:
            raise ValueError("num_images, patches, repeats and directions_per_repeat must be positive")
        self.num_images, self.patches, self.seed = num_images, patches, seed
        self.repeats, self.directions_per_repeat = repeats, directions_per_repeat
        self.store_on = torch.device(store_on)
        for name in ("real", "fake"):
            self.add_state(f"{name}_descriptors", default=[], dist_reduce_fx="cat")
            self.add_state(f"{name}_indices", default=[], dist_reduce_fx="cat")
            self.add_state(f"{name}_seen", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, images: Tensor, real: bool, indices: Tensor | None = None) -> None:
        """Add images of one set.

        Args:
            images: `[N, C, r, r]`, uint8 or floating, r a power of two from 16 on; both sets in one value
                range (0..255, say).
            real: Whether they are real ones.
            indices: `[N]` integer, each image's index in its set, which decides where its patches lie. An
                image's position in this process times the number of processes plus the rank unless given.

        Raises:
            ValueError: Shapes that do not fit.
        """
        size = images.shape[-1]
        if images.ndim != 4 or images.shape[2] != size or size < MIN_RESOLUTION or size & (size - 1):
            raise ValueError(
                f"images: expected [N, C, r, r] with r = 16, 32, 64, ..., got {tuple(images.shape)}"
            )
        if indices is not None and indices.shape != images.shape[:1]:
            raise ValueError(f"indices: expected [{len(images)}], got shape {tuple(indices.shape)}")
        name = "real" if real else "fake"
        parts, seen = getattr(self, f"{name}_descriptors"), int(getattr(self, f"{name}_seen"))
        rank, world_size = self._place()
        share = len(range(rank, self.num_images, world_size))
        images = images[: max(0, share - seen)]
        if len(images) == 0 and parts:
            return  # a process without any image keeps an empty part, for all of them gather
        if indices is None:
            indices = torch.arange(seen, seen + len(images)) * world_size + rank
        indices = indices[: len(images)].to(images.device)
        (levels,) = describe(
            images, indices, set_id=REALS if real else FAKES, patches=self.patches, seed=self.seed
        )
        stacked = torch.stack([torch.unflatten(level, 0, (len(images), self.patches)) for level in levels], 1)
        parts.append(stacked.to(self.store_on))  # [N, L, P, C, 7, 7]
        getattr(self, f"{name}_indices").append(indices.to(self.store_on))
        setattr(self, f"{name}_seen", getattr(self, f"{name}_seen") + len(images))

    def compute(self) -> dict[str, Tensor]:
        """The distances x 1000, lower is better.

        Returns:
            0-d float32 tensors: per level under its resolution, as `"128"`, and their mean under `"average"`;
            the standard errors under the same names with `_se` behind.

        Raises:
            ValueError: A set is empty, or the sets' images differ in size.
        """
        (levels, channels), other = self._shape("real"), self._shape("fake")
        if (levels, channels) != other:
            raise ValueError(
                f"images: the sets have {levels} and {other[0]} levels, {channels} and {other[1]} channels; "
                "they must agree"
            )
        directions = random_directions(
            channels * NHOOD_SIZE**2,
            repeats=self.repeats,
            count=self.directions_per_repeat,
            seed=self.seed,
        ).to(self.device)
        found = []
        for level in range(levels):
            patches = self._level("real", level), self._level("fake", level)
            reals, fakes = (normalize_descriptors(rows, out=rows) for rows in patches)
            found.append(measure_level(reals, fakes, directions, patches=self.patches, channels=channels))
        return _as_tensors(summarize(found, level_resolutions(MIN_RESOLUTION << (levels - 1))), self.device)

    def _place(self) -> tuple[int, int]:
        """Rank and number of processes."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return 0, 1
        return distributed.get_rank(self.process_group), distributed.get_world_size(self.process_group)

    def _parts(self, name: str) -> list[Tensor]:
        """A set's descriptors `[n, L, P, C, 7, 7]`, in parts as they came."""
        parts: list[Tensor] | Tensor = getattr(self, f"{name}_descriptors")
        if len(parts) == 0:
            raise ValueError(f"no {name} images: call update(images, real={name == 'real'}) before")
        return [parts] if isinstance(parts, Tensor) else parts  # a tensor, once gathered from all processes

    def _shape(self, name: str) -> tuple[int, int]:
        """Number of levels and of channels of a set."""
        _, levels, _, channels, *_ = self._parts(name)[0].shape
        return levels, channels

    def _level(self, name: str, level: int) -> Tensor:
        """A level's descriptors `[N * P, C, 7, 7]` by image index, so that batches do not matter."""
        parts = self._parts(name)
        indices = dim_zero_cat(getattr(self, f"{name}_indices"))
        places = indices.argsort(stable=True).argsort().to(self.device)
        rows = torch.empty(len(indices), *parts[0].shape[2:], device=self.device)
        for part, place in zip(parts, torch.split(places, [len(part) for part in parts]), strict=True):
            rows.index_copy_(0, place, part[:, level].to(self.device))
        return rows.flatten(0, 1)


def _as_tensors(distance: Distance, device: torch.device) -> dict[str, Tensor]:
    estimates: dict[str, Estimate] = {str(r): estimate for r, estimate in distance.levels.items()}
    estimates["average"] = distance.average
    values = {name: estimate.value for name, estimate in estimates.items()}
    errors = {
        f"{name}_se": float("nan") if estimate.se is None else estimate.se
        for name, estimate in estimates.items()
    }
    return {name: torch.tensor(value, device=device) for name, value in (values | errors).items()}
