"""Started by test_resume.py: kills runs at many moments, resumes them, prints which ended differently.

A process of its own, so that nothing is computed before it forks.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.utils.tensorboard  # before forking: it takes seconds
from tiny_runs import die, final_state, in_a_child, resume, start, tiny_config, write_pyramid

from trainer.training.steps import Steps

# D steps: 8 at 4x4, 8 fading to 8x8, 8 at 8x8, 8 fading to 16x16, 8 at 16x16; a state after every sixth.
KILLED_AT_STEP = {
    "before the first tick": 4,
    "inside the first fade": 13,
    "at the growth step to 16x16": 25,
    "one step before the end": 39,
}
original_apply = Steps.apply
original_replace = os.replace


def kill_at_step(number: int) -> None:
    """Die right after D's update number `number`."""
    applied = 0

    def apply(self: Steps, adam: Any, *arguments: Any) -> bool:
        nonlocal applied
        result = original_apply(self, adam, *arguments)
        applied += adam is self.state.D_adam
        if applied == number:
            die()
        return result

    Steps.apply = apply  # type: ignore[method-assign]


def kill_while_saving(number: int) -> None:
    """Die when state number `number` is written but not yet renamed."""
    saved = 0

    def replace(source: Any, target: Any) -> None:
        nonlocal saved
        saved += Path(target).name.startswith("state-")
        if saved == number:
            die()
        original_replace(source, target)

    os.replace = replace  # type: ignore[assignment]


def main() -> None:
    """Print a JSON object: kill point -> whether the final state is that of the uninterrupted run."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    config = tiny_config()
    data = write_pyramid(folder / "data.h5")
    assert in_a_child(lambda: start(config, data, folder / "whole")) == 0
    whole = final_state(folder / "whole" / "00000-tiny")

    def killed_run(name: str, prepare: Any, argument: int, again: int | None = None) -> bool:
        outdir = folder / name.replace(" ", "-")
        run = outdir / "00000-tiny"
        killed = in_a_child(lambda: (prepare(argument), start(config, data, outdir)))
        assert os.WIFSIGNALED(killed), f"{name}: was not killed"
        if again is not None:
            killed = in_a_child(lambda: (kill_at_step(again), resume(run)))
            assert os.WIFSIGNALED(killed), f"{name}: was not killed again"
        assert in_a_child(lambda: resume(run)) == 0, f"{name}: did not resume"
        return final_state(run) == whole

    results = {name: killed_run(name, kill_at_step, step) for name, step in KILLED_AT_STEP.items()}
    results["while a state is written"] = killed_run("writing", kill_while_saving, 4)
    results["twice"] = killed_run("twice", kill_at_step, 10, again=11)
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main()
