"""What a training step costs, found by running it on tensors that have shapes but no numbers."""

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import TrainingSchedule
from trainer.networks.models import build_discriminator, build_generator
from trainer.training.batches import group_size
from trainer.training.objectives import Objectives
from trainer.training.passes import DiscriminatorInputs, GeneratorInputs, discriminator_pass, generator_pass


class CostCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is done inside it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        """The most bytes that tensors made inside took at the same time."""
        self.flops = 0
        """Floating-point operations of convolutions and matrix products."""
        self._known: weakref.WeakKeyDictionary[torch.UntypedStorage, int] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and count what it returned."""
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        for value in tree_iter(result):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        size = storage.nbytes()
        self._known[storage] = size
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.live -= size


@dataclass(frozen=True)
class StepCost:
    """What a D step and a G step cost at one resolution."""

    fixed_bytes: int
    """Gradients of the weights, and the weights as the layers use them."""
    bytes_per_image: int
    """Activations and their gradients, in the larger of the two steps."""
    flops: int
    """Of convolutions and matrix products per image, both steps together."""

    def bytes_of(self, images: int) -> int:
        """Memory of a pass."""
        return self.fixed_bytes + images * self.bytes_per_image

    def images_in(self, free_bytes: int) -> int:
        """The most images that a pass may have."""
        return max((free_bytes - self.fixed_bytes) // self.bytes_per_image, 0)


def step_costs(config: TrainingConfig) -> dict[int, StepCost]:
    """The costs at every resolution of a run, by resolution."""
    stages = TrainingSchedule(config.schedule).stages(config.train.total_kimg)
    with FakeTensorMode():
        G, D = build_generator(config), build_discriminator(config)
        objectives = Objectives(config, G, D, torch.device("cpu"))
        return {stage.resolution: _step_cost(objectives, config, stage.resolution) for stage in stages}


def _step_cost(objectives: Objectives, config: TrainingConfig, resolution: int) -> StepCost:
    """From two numbers of images: the cost of each, and what they have in common."""
    images = max(group_size(config, 4, 4), 1)
    few, many = (_count_step(objectives, config, resolution, n) for n in (images, 2 * images))
    per_image = max((many.peak - few.peak) // images, 1)
    return StepCost(few.peak - images * per_image, per_image, (many.flops - few.flops) // images)


def _count_step(objectives: Objectives, config: TrainingConfig, resolution: int, images: int) -> CostCounter:
    """A D step and a G step, and the D step that follows: G's gradients stay until they are needed again."""
    reals = torch.empty(images, config.generator.channels, resolution, resolution)
    latents = torch.empty(images, config.generator.latent_size)
    mix_factors = torch.empty(images, 1, 1, 1)
    labels = torch.empty(images, config.generator.label_size) if config.generator.label_size else None
    objectives.G.zero_grad()
    objectives.D.zero_grad()
    counter = CostCounter()
    with counter:
        D_inputs = DiscriminatorInputs(reals, labels, latents, labels, mix_factors)
        discriminator_pass(objectives, D_inputs, resolution, 0.0, 1.0)
        generator_pass(objectives, GeneratorInputs(latents, labels), resolution, 0.0, 1.0)
        flops = counter.flops
        objectives.D.zero_grad()
        discriminator_pass(objectives, D_inputs, resolution, 0.0, 1.0)
    counter.flops = flops
    return counter
