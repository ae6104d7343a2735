"""What a training step costs, found by running it on tensors that have shapes but no numbers."""

import os
import weakref
from dataclasses import dataclass
from pathlib import Path
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
    """Counts what is done inside it.

    Attributes:
        peak: The most bytes that tensors made inside took at the same time.
        flops: Floating-point operations of convolutions and matrix products.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self.flops = 0
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
    """What one image of a minibatch costs in a D step and a G step."""

    peak_bytes: int  # activations and gradients, the larger of the two steps
    flops: int  # of convolutions and matrix products, both steps together


def step_costs(config: TrainingConfig) -> dict[int, StepCost]:
    """The costs at every resolution of a run, by resolution."""
    stages = TrainingSchedule(config.schedule).stages(config.train.total_kimg)
    with FakeTensorMode():
        G, D = build_generator(config), build_discriminator(config)
        objectives = Objectives(config, G, D, torch.device("cpu"))
        return {stage.resolution: _step_cost(objectives, config, stage.resolution) for stage in stages}


def _step_cost(objectives: Objectives, config: TrainingConfig, resolution: int) -> StepCost:
    images = max(group_size(config, 4, 4), 1)
    reals = torch.empty(images, config.generator.channels, resolution, resolution)
    latents = torch.empty(images, config.generator.latent_size)
    mix_factors = torch.empty(images, 1, 1, 1)
    labels = torch.empty(images, config.generator.label_size) if config.generator.label_size else None

    with CostCounter() as counter:
        D_inputs = DiscriminatorInputs(reals, labels, latents, labels, mix_factors)
        discriminator_pass(objectives, D_inputs, resolution, 0.0, 1.0)
        generator_pass(objectives, GeneratorInputs(latents, labels), resolution, 0.0, 1.0)
    return StepCost(counter.peak // images, counter.flops // images)


def free_memory_bytes(device: torch.device) -> int:
    """Memory that a run may take: free GPU memory, the system's available memory, or half of all of it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        line = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
