"""Started by test_distributed.py under torchrun: gradients summed over processes, then a short run."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from test_steps import FADING_KIMG, config_with, scaled
from tiny_runs import CPU, tiny_config

from celebahq.processes import join_world
from celebahq.terminal import on_terminal
from trainer.configuration.schedule import TrainingSchedule
from trainer.training.data import TrainingData
from trainer.training.session import start_run
from trainer.training.steps import Steps


def main() -> None:
    """Write `gradients.safetensors` and a run folder into the folder given."""
    folder = Path(sys.argv[1])
    data = folder / "data.h5"
    torch.set_num_threads(1)
    config = config_with(4)
    with join_world(CPU) as world:
        state = scaled(config)
        with TrainingData(data, seed=0, mirror=True, use_labels=False) as reals:
            steps = Steps(config, state, reals, CPU, world)
            plan = steps.plan(TrainingSchedule(config.schedule).at(FADING_KIMG))
            means = steps.discriminator_gradients(plan) | steps.generator_gradients(plan)
        found = {f"D.{name}": g for name, g in state.D_adam.gradients().items()}
        found |= {f"G.{name}": g for name, g in state.G_adam.gradients().items()}
        if world.is_main:
            save_file(found | means, folder / "gradients.safetensors")
        with on_terminal("trainer"):
            start_run(tiny_config(train={"total_kimg": 0.1}), data, folder / "runs", CPU, world)


if __name__ == "__main__":
    main()
