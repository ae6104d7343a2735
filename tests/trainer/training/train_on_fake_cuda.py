"""Training as a GPU would see it: prints, as JSON, how often a step waits and which presets run.

A process of its own, as `fake_cuda` wants it.
"""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from fake_cuda import CUDA, fake_cuda, leave
from tiny_runs import tiny_config
from torch import nn

from celebahq.processes import World
from trainer.configuration.config import TrainingConfig
from trainer.configuration.presets import preset, preset_summaries
from trainer.configuration.settings import override
from trainer.training.bench import SyntheticData
from trainer.training.loop import training_loop
from trainer.training.objectives import Objectives
from trainer.training.state import new_state
from trainer.training.steps import Steps

NETWORKS = {"resolution": 16, "fmap_base": 64, "fmap_max": 8}
LABELS = {
    "generator": {**NETWORKS, "latent_size": 8, "label_size": 3},
    "discriminator": {**NETWORKS, "label_size": 3},
}
WAITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "labels, augmented": {**LABELS, "data": {"augment": "color,translation,cutout"}},
    "joint, bf16": {"train": {"joint_step": True}, "runtime": {"precision": "bf16"}},
    "two D steps": {"train": {"d_repeats": 2}},
    "noise": {"loss": {"kind": "lsgan", "gdrop_coefficient": 0.2}},
}


def train(config: TrainingConfig, steps: int) -> int:
    """So many D steps in one tick; how often they and the tick waited for the device."""
    kimg = steps * config.schedule.minibatch / 1000
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, total_kimg=kimg))
    maintenance = SimpleNamespace(at_start=lambda: None, tick=lambda *_, **__: None, passes_changed=None)
    with fake_cuda() as device:
        state = new_state(config, CUDA)
        before = len(device.waits)
        run = SimpleNamespace(config=config, folder=None)
        training_loop(run, state, SyntheticData(config), maintenance, CUDA, World())  # type: ignore[arg-type]
        return len(device.waits) - before


@contextmanager
def without_autograd() -> Iterator[None]:
    """Steps take their gradients from nowhere."""
    networks: list[nn.Module] = []
    original = Objectives.discriminator_loss, Objectives.generator_loss

    def D_loss(self: Objectives, *args: Any) -> Any:
        networks[:] = [self.D]
        return original[0](self, *args)

    def G_loss(self: Objectives, *args: Any) -> Any:
        networks[:] = [self.G]
        return original[1](self, *args)

    def backward(loss: torch.Tensor) -> None:
        for parameter in networks[0].parameters():
            parameter.grad = torch.empty_like(parameter)

    with (
        patch.object(Objectives, "discriminator_loss", D_loss),
        patch.object(Objectives, "generator_loss", G_loss),
        patch.object(Objectives, "penalty", lambda self, reals, *_: reals.mean()),
        patch("torch.autograd.backward", backward),
    ):
        yield


def waits_per_step(sections: dict[str, Any]) -> float:
    """Of one D step, and of the G step that may follow; autograd has no part in it, for it never waits."""
    runtime = {**sections.get("runtime", {}), "minibatch_gpu": {4: 4, 8: 4, 16: 4}}  # two passes
    config = tiny_config(**{**sections, "runtime": runtime, "schedule": {"tick_kimg": 1000.0}})
    with without_autograd():
        return (train(config, 4) - train(config, 2)) / 2


def small(name: str, *changes: str) -> TrainingConfig:
    """A preset's networks, losses and steps at two small resolutions, the second of them fading in."""
    config = preset(name, 1)
    resolution = 32 if config.architecture == "mnist-1k" else 8
    changes += (f"resolution={resolution}", "schedule.minibatch=8", "schedule.minibatch_by_resolution={}")
    changes += ("schedule.tick_kimg=1000", "schedule.tick_kimg_by_resolution={}")
    changes += ("generator.use_batchnorm=false",)  # PyTorch crashes on running statistics without numbers
    for network in ("generator", "discriminator"):
        changes += (f"{network}.fmap_base=128", f"{network}.fmap_max=16")
    grows = config.schedule.trans_kimg > 0
    changes += (f"schedule.initial_resolution={resolution // 2 if grows else resolution}",)
    changes += ("schedule.train_kimg=0.008", "schedule.trans_kimg=0.016") if grows else ()
    passes = {resolution: 8, resolution // 2: 8}
    config = override(config, changes)
    runtime = dataclasses.replace(config.runtime, minibatch_gpu=passes)
    return dataclasses.replace(config, runtime=runtime)


def error_of(config: TrainingConfig) -> str:
    """Why a run does not come to its end; nothing if it does."""
    try:
        train(config, 2)
    except Exception as err:
        return f"{type(err).__name__}: {err}"
    return ""


def main() -> None:
    """Run everything."""
    names = [summary.name for summary in preset_summaries()]
    waits = {name: waits_per_step(sections) for name, sections in WAITS.items()}
    presets = {}
    for count, name in enumerate(names):
        precision = ("fp32", "bf16")[count % 2]
        config = small(name, f"runtime.precision={precision}", f"label_size={3 * (count // 2 % 2)}")
        presets[name] = error_of(config)
    original = Steps.mix_factors
    Steps.mix_factors = lambda self, positions: original(self, positions).new_zeros(8, 1, 1, 1, device="cpu")  # type: ignore[method-assign]
    planted = error_of(small("faces-64"))
    print(json.dumps({"presets": presets, "waits": waits, "planted": planted}))  # noqa: T201
    leave()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
