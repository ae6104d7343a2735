"""Tiny runs in seconds: 4x4 to 16x16 in 40 D steps, with fades and growth steps."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from celebahq.processes import World
from celebahq.pyramid import PyramidWriter
from trainer.configuration.config import TrainingConfig
from trainer.configuration.settings import from_dict
from trainer.storage.checkpoint import states
from trainer.storage.run_status import run_status
from trainer.training.costs import StepCost
from trainer.training.maintenance import Maintenance
from trainer.training.session import resume_run, start_run

CPU = torch.device("cpu")
TINY = {
    "name": "tiny",
    "generator": {"resolution": 16, "latent_size": 8, "fmap_base": 64, "fmap_max": 8},
    "discriminator": {"resolution": 16, "fmap_base": 64, "fmap_max": 8},
    "schedule": {
        "resolution": 16,
        "train_kimg": 0.064,
        "trans_kimg": 0.064,
        "minibatch": 8,
        "tick_kimg": 0.048,  # a state every six steps
    },
    "train": {"total_kimg": 0.32},
    "snapshot": {"image_ticks": 100, "network_ticks": 100},
}


def tiny_config(**sections: dict[str, object]) -> TrainingConfig:
    """The tiny run with some fields changed."""
    values = {name: {**part} if isinstance(part, dict) else part for name, part in TINY.items()}
    for name, changes in sections.items():
        values[name] = {**values.get(name, {}), **changes}  # type: ignore[dict-item]
    return from_dict(TrainingConfig, values)


def write_pyramid(path: Path, count: int = 50, resolution: int = 16, labels: int = 0) -> Path:
    """Smooth random images, with one-hot labels if asked for."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)
    images = coarse.repeat(resolution // 4, axis=2).repeat(resolution // 4, axis=3)
    one_hot = np.eye(labels, dtype=np.float32)[np.arange(count) % labels] if labels else None
    with PyramidWriter(path, resolution) as pyramid:
        pyramid.append(images, labels=one_hot)
    return path


def known_costs(config: TrainingConfig) -> dict[int, StepCost]:
    """Instead of `step_costs`, which takes a second; passes and the estimate of the time left hang on it."""
    return {resolution: StepCost(0, 1000, 1000) for resolution in (4, 8, 16, 32)}


def start(config: TrainingConfig, data: Path, outdir: Path) -> Path:
    """Run to the end on one CPU."""
    with patch("trainer.training.session.step_costs", known_costs):
        return start_run(config, data, outdir, CPU, World())


def resume(run: Path, *changes: str, minibatch_gpu: int | None = None) -> None:
    """Continue to the end on one CPU."""
    with patch("trainer.training.session.step_costs", known_costs):
        resume_run(run, CPU, World(), changes=changes, minibatch_gpu=minibatch_gpu)


def final_state(run: Path) -> bytes:
    """The newest training state, as it lies on disk."""
    return states(run)[-1].read_bytes()


def in_a_child(function: Callable[[], object]) -> int:
    """Run a function in a forked process; its wait status."""
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def die() -> None:
    """What `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def start_and_die_at_a_tick(data: Path, folder: Path) -> None:
    """Begin a run below `folder` and kill it at its first tick; `folder`/seen has its state before that.

    For a spawned process: a fork of one that has computed in threads may wait for them for ever.
    """

    def tick(self: Maintenance, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        (folder / "seen").write_text(run_status(self.run.folder).state)
        die()

    original = Maintenance.tick
    with patch.object(Maintenance, "tick", tick):
        start(tiny_config(), data, folder / "runs")
