"""How fast a configuration trains, resolution by resolution, and where the time goes."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from celebahq.errors import ToolError
from celebahq.processes import World
from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import Phase, TrainingSchedule
from trainer.networks.backends import prepare_backends
from trainer.networks.ema import update_average
from trainer.randomness import Indices, Stream
from trainer.training.costs import step_costs
from trainer.training.data import RealImages, TrainingData, open_data
from trainer.training.memory import fit_passes
from trainer.training.plan import StepPlan
from trainer.training.progress import peak_memory_gb
from trainer.training.state import new_state
from trainer.training.steps import Steps

PARTS = ("data", "D", "penalty", "G", "update")


@dataclasses.dataclass(frozen=True)
class BenchRow:
    """One resolution's figures; `share` is each part's fraction of the step."""

    resolution: int
    minibatch: int
    minibatch_gpu: int
    images_per_sec: float
    sec_per_kimg: float
    memory_gb: float
    tflops: float
    share: dict[str, float]


class SyntheticData:
    """Stands in for the data set: the same noise image again and again, at no cost."""

    def __init__(self, config: TrainingConfig) -> None:
        self.channels, self.label_size = config.generator.channels, config.generator.label_size
        self._images = torch.empty(0, dtype=torch.uint8)

    def next(self, first: int, plan: StepPlan) -> tuple[Tensor, Tensor | None]:
        """As `TrainingData.next`."""
        shape = (len(plan.rows), self.channels, plan.resolution, plan.resolution)
        if self._images.shape != shape:
            noise = torch.randint(256, shape, generator=torch.Generator().manual_seed(0))
            self._images = noise.to(torch.uint8)
        return self._images, self._one_hot(len(self._images))

    def drawn_labels(self, stream: Stream, positions: Indices) -> Tensor | None:
        """As `TrainingData.drawn_labels`."""
        return self._one_hot(len(positions))

    def _one_hot(self, count: int) -> Tensor | None:
        if not self.label_size:
            return None
        return torch.eye(self.label_size)[torch.arange(count) % self.label_size]


def bench(
    config: TrainingConfig,
    data: Path | None,
    device: torch.device,
    *,
    resolutions: list[int] | None = None,
    steps: int,
    minibatch_gpu: int | None = None,
) -> list[BenchRow]:
    """Time training steps of each resolution, fully grown into it.

    Args:
        config: What is trained; `d_repeats` is ignored, one D step is timed with one G step.
        data: A pyramid file; None for synthetic images.
        device: Where.
        resolutions: Which of the run's; all unless given.
        steps: Timed steps per resolution, after one that is not counted. The fastest counts, as anything
            else that the machine does can only slow a step down.
        minibatch_gpu: The most images of a pass; unless given, as many as fit.

    Raises:
        ToolError: The run never has one of the resolutions.
    """
    prepare_backends(config.runtime)
    costs = step_costs(config)
    for resolution in resolutions or ():
        if resolution not in costs:
            raise ToolError(f"--resolution {resolution}", f"{config.name} has {', '.join(map(str, costs))}")
    config = fit_passes(config, World(), device, costs, minibatch_gpu=minibatch_gpu)
    reals: RealImages = SyntheticData(config) if data is None else open_data(config, data)
    rows = []
    for resolution in resolutions or list(costs):
        rows.append(_bench_resolution(config, reals, device, resolution, steps, costs[resolution].flops))
    if isinstance(reals, TrainingData):
        reals.close()
    return rows


def _bench_resolution(
    config: TrainingConfig, reals: RealImages, device: torch.device, resolution: int, steps: int, flops: int
) -> BenchRow:
    schedule = TrainingSchedule(config.schedule)
    lod = float(np.log2(config.schedule.resolution // resolution))
    phase = dataclasses.replace(
        schedule.at(0.0),
        lod=lod,
        resolution=resolution,
        minibatch=config.schedule.minibatch_by_resolution.get(resolution, config.schedule.minibatch),
    )
    state = new_state(config, device)
    peak_memory_gb(device)
    parts = PartTimes(device)
    trained = Steps(config, state, reals, device, World(), parts)
    timings = [parts.of(trained, phase) for _ in range(steps + 1)][1:]
    best = {part: min(timing[part] for timing in timings) for part in PARTS}
    total = sum(best.values())
    return BenchRow(
        resolution=resolution,
        minibatch=phase.minibatch,
        minibatch_gpu=config.runtime.minibatch_gpu[resolution],
        images_per_sec=phase.minibatch / total,
        sec_per_kimg=1000 * total / phase.minibatch,
        memory_gb=peak_memory_gb(device),
        tflops=flops * phase.minibatch / total / 1e12,
        share={part: seconds / total for part, seconds in best.items()},
    )


class PartTimes:
    """Seconds that the parts of a step take."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = dict.fromkeys(PARTS, 0.0)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Time what is inside."""
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[part] += time.perf_counter() - start

    def of(self, steps: Steps, phase: Phase) -> dict[str, float]:
        """Take one D step and one G step; `steps` must have been made with this object as its `timed`."""
        self.seconds = dict.fromkeys(PARTS, 0.0)
        state, plan = steps.state, steps.plan(phase)
        steps.apply(state.D_adam, steps.discriminator_gradients(plan), phase.learning_rate)
        with self("update"):
            update_average(state.Gs, state.G, steps.config.train.ema_beta)
        steps.apply(state.G_adam, steps.generator_gradients(plan), phase.learning_rate)
        state.nimg += plan.minibatch
        return self.seconds
