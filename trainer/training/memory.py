"""How many images go through the networks at a time: what fits into memory, and what when it runs out."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode

from celebahq.errors import ToolError
from celebahq.processes import World, processes_here
from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import Phase, TrainingSchedule
from trainer.networks.models import build_discriminator, build_generator
from trainer.training.batches import choose_chunks, possible_chunks
from trainer.training.costs import StepCost

USABLE_MEMORY = 0.8  # of what is free
CPU_OVERHEAD = 1.45  # convolutions' own copies and the allocator's gaps, as measured: docs/training.md


def with_passes(config: TrainingConfig, chunks: Mapping[int, int]) -> TrainingConfig:
    """The configuration with these images per pass, by resolution."""
    runtime = dataclasses.replace(config.runtime, minibatch_gpu=dict(chunks))
    return dataclasses.replace(config, runtime=runtime)


def fit_passes(
    config: TrainingConfig,
    world: World,
    device: torch.device,
    costs: Mapping[int, StepCost],
    *,
    minibatch_gpu: int | None = None,
    keep: bool = False,
) -> TrainingConfig:
    """Choose the images per pass at each resolution of a run.

    Args:
        config: The run.
        world: The processes.
        device: Of this process.
        costs: Of a step, by resolution.
        minibatch_gpu: The most images of a pass; unless given, as many as fit into memory.
        keep: Keep those that the configuration has, where the processes can share them: equal passes give
            equal bits.

    Raises:
        ToolError: Not even the smallest pass fits.
    """
    usable = usable_memory_bytes(device, world)
    moments, on_device = moments_bytes(config), on_cpu if device.type == "cpu" else on_gpu
    costs = {resolution: on_device(cost, moments) for resolution, cost in costs.items()}
    chunks = choose_chunks(config, world.size, costs=costs, free_bytes=usable, minibatch_gpu=minibatch_gpu)
    if keep and minibatch_gpu is None:
        for stage in TrainingSchedule(config.schedule).stages(config.train.total_kimg):
            recorded = config.runtime.minibatch_gpu.get(stage.resolution)
            if recorded in possible_chunks(config, stage.minibatch, world.size):
                chunks[stage.resolution] = recorded
    return with_passes(config, chunks)


def on_cpu(cost: StepCost, moments: int) -> StepCost:
    """What the process grows by: also by the optimizers' moments, which are zeros nobody has touched yet."""
    fixed = moments + round(CPU_OVERHEAD * cost.fixed_bytes)
    return dataclasses.replace(
        cost, fixed_bytes=fixed, bytes_per_image=round(CPU_OVERHEAD * cost.bytes_per_image)
    )


def on_gpu(cost: StepCost, moments: int) -> StepCost:
    """What `Adam.remember` keeps of D: at most as much as both optimizers' moments."""
    return dataclasses.replace(cost, fixed_bytes=cost.fixed_bytes + moments)


def moments_bytes(config: TrainingConfig) -> int:
    """Of both optimizers."""
    with FakeTensorMode():
        networks = build_generator(config), build_discriminator(config)
        weights = sum(p.nbytes for network in networks for p in network.parameters())
    return weights * (2 if config.optimizer.beta1 else 1)


def smaller_passes(config: TrainingConfig, phase: Phase, world: World) -> TrainingConfig:
    """The configuration after memory has run out: passes of at most half the size at this resolution.

    Raises:
        ToolError: There are no smaller ones.
    """
    chunk = config.runtime.minibatch_gpu[phase.resolution]
    smaller = [n for n in possible_chunks(config, phase.minibatch, world.size) if n < chunk]
    if not smaller:
        raise ToolError(
            f"a pass at {phase.resolution}x{phase.resolution}",
            f"out of memory with {chunk} images, the fewest that give the same result; use a device with "
            "more memory, or more processes",
        )
    fitting = [n for n in smaller if n <= chunk // 2] or smaller[:1]
    return with_passes(config, {**config.runtime.minibatch_gpu, phase.resolution: fitting[-1]})


def usable_memory_bytes(device: torch.device, world: World) -> int:
    """Memory for one process; the same answer on all processes, the smallest."""
    sharing = processes_here() if device.type == "cpu" else 1
    usable = int(USABLE_MEMORY * free_memory_bytes(device) / sharing)
    if world.size == 1:
        return usable
    smallest = torch.tensor(usable, device=device)
    dist.all_reduce(smallest, op=dist.ReduceOp.MIN)
    return int(smallest)


def free_memory_bytes(device: torch.device) -> int:
    """Memory that a run may take: free GPU memory, the system's available memory, or half of all of it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        line = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
