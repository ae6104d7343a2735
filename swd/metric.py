"""The metric for training loops: fed batch by batch, on one or many processes."""

import math
import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor, distributed
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from celebahq.processes import World
from swd.method.copies import content_keys
from swd.method.descriptors import describe, normalize_descriptors
from swd.method.laplacian import MIN_RESOLUTION, level_resolutions
from swd.method.measured import Measured
from swd.method.protocol import Protocol
from swd.method.randomness import FAKES, REALS
from swd.pipeline.distance import Distance, Set, measure_level, summarize
from swd.pipeline.extraction import in_batches, whole_sample
from swd.pipeline.store import DescriptorStore, descriptor_bytes

_NAMES = {True: "real", False: "fake"}

Results = Mapping[str, Tensor] | list[Mapping[str, Tensor]] | None


class SlicedWassersteinDistance(Metric):
    """Sliced Wasserstein distance x 1000 between real and generated images, with standard errors.

    Of at most `num_images` images per set, uint8 images or descriptors are kept, whichever is smaller: 0.5 MB
    per image at 1024 px, 49 KB (uint8) or 0.3 MB at 128 px. Under `torch.distributed` every process keeps its
    part and all parts are gathered to compute.

    Results are dicts; for a tracker, `MetricTracker(MetricCollection(metric), maximize=False)`, where
    real images that the metric was given before are there in every step.
    `BootStrapper` resamples the images of every update; its copies' results are
    `[copy.compute() for copy in strapper.metrics]`.

    Source: Karras et al. 2018, section 5.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    plot_lower_bound = 0.0

    def __init__(
        self,
        *,
        num_images: int = 16_384,
        patches: int = 128,
        repeats: int = 4,
        directions_per_repeat: int = 128,
        seed: int = 0,
        reset_real_features: bool = True,
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
            reset_real_features: Whether `reset` forgets the real images too.
            store_on: Device to keep images and descriptors on; the GPU, if NCCL is to gather them.
            kwargs: For `torchmetrics.Metric`.
        """
        super().__init__(**kwargs)
        if min(num_images, patches, repeats, directions_per_repeat) < 1:
            raise ValueError("num_images, patches, repeats and directions_per_repeat must be positive")
        self.num_images, self.patches, self.seed = num_images, patches, seed
        self.repeats, self.directions_per_repeat = repeats, directions_per_repeat
        self.reset_real_features = reset_real_features
        self.store_on = torch.device(store_on)
        for name in _NAMES.values():
            # Images [N, C, r, r] uint8, or descriptors [N, L, P, C, 7, 7] float32, in parts as they came.
            self.add_state(f"{name}_parts", default=[], dist_reduce_fx="cat")
            self.add_state(f"{name}_indices", default=[], dist_reduce_fx="cat")
            self.add_state(f"{name}_keys", default=[], dist_reduce_fx="cat")
            self.add_state(f"{name}_seen", default=torch.tensor(0), dist_reduce_fx="sum")
            self.add_state(f"{name}_broken", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, images: Tensor, real: bool, indices: Tensor | None = None) -> None:
        """Add images of one set.

        Args:
            images: `[N, C, r, r]`, uint8 or floating, r a power of two from 16 on, C and r the same for all;
                both sets in one value range (0..255, say).
            real: Whether they are real ones.
            indices: `[N]` integer, each image's index in its set, which decides where its patches lie. An
                image's position in this process times the number of processes plus the rank unless given.

        Raises:
            ValueError: Shapes that do not fit, or another size, number of channels or kind of number than the
                set has.
        """
        self._check(images, indices, real)
        name = _NAMES[real]
        parts, seen = getattr(self, f"{name}_parts"), int(getattr(self, f"{name}_seen"))
        rank, world_size = self._place()
        share = len(range(rank, self.num_images, world_size))
        images = images[: max(0, share - seen)]
        if len(images) == 0 and parts:
            return  # a process without any image keeps an empty part, for all of them gather
        if indices is None:
            indices = torch.arange(seen, seen + len(images)) * world_size + rank
        indices = indices[: len(images)]
        broken = 0
        if images.dtype != torch.uint8:
            broken = int((~images.isfinite().flatten(1).all(1)).sum())
            images = images.nan_to_num(0, 0, 0) if broken else images
        kept = images if self._keeps_images(images) else self._describe(images, indices, real)
        parts.append(kept.detach().to(self.store_on, copy=True))
        getattr(self, f"{name}_indices").append(indices.to(self.store_on))
        getattr(self, f"{name}_keys").append(content_keys(images).to(self.store_on))
        setattr(self, f"{name}_seen", getattr(self, f"{name}_seen") + len(images))
        setattr(self, f"{name}_broken", getattr(self, f"{name}_broken") + broken)

    def compute(self) -> dict[str, Tensor]:
        """The distances x 1000, lower is better.

        Returns:
            0-d float32 tensors: per level under its resolution, as `"128"`, and their mean under `"average"`;
            the standard errors under the same names with `_se` behind. All are NaN, with a warning, if an
            image has a pixel that is NaN or infinite.

        Raises:
            ValueError: A set is empty, or the sets' images differ in size.
        """
        for real, name in _NAMES.items():
            if not any(map(len, self._parts(real))):
                raise ValueError(f"no {name} images, but empty batches")
        (resolution, channels), other = self._shape(True), self._shape(False)
        if (resolution, channels) != other:
            raise ValueError(
                f"images: the sets have {resolution} and {other[0]} px, {channels} and {other[1]} channels; "
                "they must agree"
            )
        broken = {name: int(getattr(self, f"{name}_broken")) for name in _NAMES.values()}
        if any(broken.values()):
            found = " and ".join(f"{count} {name}" for name, count in broken.items() if count)
            warnings.warn(f"{found} images have pixels that are NaN or infinite: no distance", stacklevel=2)
            names = [*map(str, level_resolutions(resolution)), "average"]
            return {
                name: torch.tensor(math.nan, device=self.device) for name in [*names, *map(_error_of, names)]
            }
        sides = [self._levels(real, self._protocol(real, resolution, channels)) for real in (True, False)]
        protocol = self._protocol(True, resolution, channels)
        directions = protocol.draw_directions().to(self.device)
        measured: list[Measured] = []
        for level in range(len(protocol.resolutions)):
            sets = []
            for real, store in zip((True, False), sides, strict=True):
                rows = store.load(level, self.device)
                sample = whole_sample(_NAMES[real], self._in_order(real, "keys").cpu())
                sets.append(Set(normalize_descriptors(rows, out=rows), sample))
            measured += measure_level(sets, [(0, 1)], [], directions, protocol, World())
        return _as_tensors(summarize(measured, protocol.resolutions, protocol.images), self.device)

    def reset(self) -> None:
        """Forget the images, or the generated ones only; see `reset_real_features`."""
        kept = {}
        if not self.reset_real_features:
            kept = {name: getattr(self, name) for name in self._defaults if name.startswith("real_")}
        kept = {name: list(value) if isinstance(value, list) else value for name, value in kept.items()}
        super().reset()
        for name, value in kept.items():
            setattr(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> NoReturn:
        """There is no distance of a batch: it holds images of one set only.

        Raises:
            TypeError: Always; what was added before stays.
        """
        raise TypeError(
            "a batch of one set has no distance to itself: call update(images, real=...) for each batch and "
            "compute() at the end"
        )

    def plot(
        self, val: Mapping[str, Tensor] | list[Mapping[str, Tensor]] | None = None, ax: Any = None
    ) -> Any:
        """Draw the distances of every level, or how they went over several results of `compute`.

        Args:
            val: Result or results; a new one unless given.
            ax: Axes to draw on.

        Returns:
            Figure and axes.
        """
        results = [self.compute()] if val is None else [val] if isinstance(val, Mapping) else val
        values = [{name: v for name, v in result.items() if not name.endswith("_se")} for result in results]
        return self._plot(values if len(values) > 1 else values[0], ax)

    def _check(self, images: Tensor, indices: Tensor | None, real: bool) -> None:
        size = images.shape[-1]
        if images.ndim != 4 or images.shape[2] != size or size < MIN_RESOLUTION or size & (size - 1):
            raise ValueError(
                f"images: expected [N, C, r, r] with r = 16, 32, 64, ..., got {tuple(images.shape)}"
            )
        if indices is not None and indices.shape != images.shape[:1]:
            raise ValueError(f"indices: expected [{len(images)}], got shape {tuple(indices.shape)}")
        if not getattr(self, f"{_NAMES[real]}_parts"):
            return
        before = self._shape(real)
        if before != (size, images.shape[1]):
            raise ValueError(
                f"images: {images.shape[1]} channels of {size} px, but the {_NAMES[real]} ones before have "
                f"{before[1]} of {before[0]} px; call reset() before another size"
            )
        if (self._parts(real)[0].dtype == torch.uint8) != self._keeps_images(images):
            raise ValueError(
                f"images: {images.dtype}, but the {_NAMES[real]} ones before are of another type"
            )

    def _keeps_images(self, images: Tensor) -> bool:
        """Whether these images are smaller than their descriptors."""
        protocol = Protocol(1, images.shape[-1], images.shape[1], patches=self.patches)
        return images.dtype == torch.uint8 and images[:1].numel() < descriptor_bytes(protocol, 1)

    def _describe(self, images: Tensor, indices: Tensor, real: bool) -> Tensor:
        """`[N, L, P, C, 7, 7]`."""
        (levels,) = describe(
            images, indices, set_id=REALS if real else FAKES, patches=self.patches, seed=self.seed
        )
        return torch.stack([torch.unflatten(level, 0, (len(images), self.patches)) for level in levels], 1)

    def _protocol(self, real: bool, resolution: int, channels: int) -> Protocol:
        return Protocol(
            sum(map(len, self._parts(real))),
            resolution,
            channels,
            self.seed,
            self.patches,
            self.repeats,
            self.directions_per_repeat,
        )

    def _place(self) -> tuple[int, int]:
        """Rank and number of processes."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return 0, 1
        return distributed.get_rank(self.process_group), distributed.get_world_size(self.process_group)

    def _parts(self, real: bool) -> list[Tensor]:
        """What is kept of a set, in parts as they came."""
        name = _NAMES[real]
        parts: list[Tensor] | Tensor = getattr(self, f"{name}_parts")
        if len(parts) == 0:
            raise ValueError(f"no {name} images: call update(images, real={real}) before")
        return [parts] if isinstance(parts, Tensor) else parts  # a tensor, once gathered from all processes

    def _shape(self, real: bool) -> tuple[int, int]:
        """Resolution and number of channels of a set."""
        part = self._parts(real)[0]
        if part.ndim == 4:
            return part.shape[-1], part.shape[1]
        return MIN_RESOLUTION << (part.shape[1] - 1), part.shape[3]

    def _in_order(self, real: bool, state: str) -> Tensor:
        """A set's numbers by image index, so that batches do not matter."""
        values: Tensor = dim_zero_cat(getattr(self, f"{_NAMES[real]}_{state}"))
        return values[self._order(real).to(values.device)]

    def _order(self, real: bool) -> Tensor:
        indices: Tensor = dim_zero_cat(getattr(self, f"{_NAMES[real]}_indices"))
        return indices.argsort(stable=True).cpu()

    def _levels(self, real: bool, protocol: Protocol) -> DescriptorStore:
        """A set's descriptors by image index."""
        parts, order = self._parts(real), self._order(real)
        indices = self._in_order(real, "indices").cpu()
        owners = torch.cat([torch.full((len(part),), number) for number, part in enumerate(parts)])
        places = torch.cat([torch.arange(len(part)) for part in parts])
        store = DescriptorStore(protocol, len(order))
        for batch in in_batches(range(len(order)), protocol.resolution):
            chosen = order[list(batch)]
            rows = [parts[owner][place] for owner, place in zip(owners[chosen], places[chosen], strict=True)]
            kept = torch.stack(rows).to(self.device)
            if kept.ndim == 4:
                kept = self._describe(kept, indices[list(batch)], real)
            store.append([kept[:, level].flatten(0, 1) for level in range(kept.shape[1])])
        return store


def _error_of(name: str) -> str:
    return f"{name}_se"


def _as_tensors(distance: Distance, device: torch.device) -> dict[str, Tensor]:
    estimates = {str(r): estimate for r, estimate in distance.levels.items()} | {"average": distance.average}
    values = {name: estimate.value for name, estimate in estimates.items()}
    errors = {_error_of(name): math.nan if e.se is None else e.se for name, e in estimates.items()}
    return {name: torch.tensor(value, device=device) for name, value in (values | errors).items()}
