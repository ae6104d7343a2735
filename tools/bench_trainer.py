"""Measure the trainer's step against a textbook float32 step, and the share of data loading.

    python tools/bench_trainer.py --data faces.h5 --preset faces-64 --resolution 8 --resolution 32

Ratios come from interleaved timings, the fastest of each kind, so that other load on the machine cancels.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, Literal

import click
import torch
from textbook_step import TextbookStep

from celebahq.console import status
from celebahq.processes import World
from trainer.configuration.config import TrainingConfig
from trainer.configuration.presets import preset
from trainer.configuration.schedule import TrainingSchedule
from trainer.configuration.settings import override
from trainer.training.batches import choose_chunks
from trainer.training.bench import PartTimes
from trainer.training.data import TrainingData, open_data, to_network_range
from trainer.training.state import new_state
from trainer.training.steps import Steps

CPU = torch.device("cpu")


def trainer_steps(
    config: TrainingConfig, precision: Literal["fp32", "bf16"], reals: TrainingData, parts: PartTimes
) -> Steps:
    """The trainer's steps in one precision, the whole minibatch in one pass."""
    chunks = choose_chunks(config, 1, minibatch_gpu=10**9)
    runtime = dataclasses.replace(config.runtime, precision=precision, minibatch_gpu=chunks)
    config = dataclasses.replace(config, runtime=runtime)
    return Steps(config, new_state(config, CPU), reals, CPU, World(), parts)


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--preset", "preset_name", default="faces-64", show_default=True)
@click.option("--set", "assignments", multiple=True)
@click.option("--resolution", "resolutions", type=int, multiple=True, default=(8, 32), show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(
    data: Path,
    preset_name: str,
    assignments: tuple[str, ...],
    resolutions: tuple[int, ...],
    rounds: int,
    threads: int,
) -> None:
    """Print one JSON object per resolution: seconds per step, ratios, share of data loading."""
    torch.set_num_threads(threads)
    config = override(preset(preset_name), assignments)
    for resolution in resolutions:
        with open_data(config, data) as reals:
            click.echo(json.dumps(bench_resolution(config, reals, resolution, rounds)))


def bench_resolution(
    config: TrainingConfig, reals: TrainingData, resolution: int, rounds: int
) -> dict[str, Any]:
    """Interleaved timings at one resolution."""
    schedule = TrainingSchedule(config.schedule)
    octaves = (config.schedule.resolution // resolution).bit_length() - 1
    minibatch = config.schedule.minibatch_by_resolution.get(resolution, config.schedule.minibatch)
    phase = dataclasses.replace(
        schedule.at(0.0), lod=float(octaves), resolution=resolution, minibatch=minibatch
    )
    parts = PartTimes(CPU)
    ours = {precision: trainer_steps(config, precision, reals, parts) for precision in ("fp32", "bf16")}
    textbook = TextbookStep(config.generator, config.discriminator, resolution)
    best = {"textbook": float("inf"), "fp32": float("inf"), "bf16": float("inf")}
    share = {"fp32": float("inf"), "bf16": float("inf")}
    for i in range(rounds + 1):
        fp32 = ours["fp32"]
        images = to_network_range(fp32.data.next(fp32.state.nimg, fp32.plan(phase))[0])
        start = time.perf_counter()
        textbook(images)
        seconds = {"textbook": time.perf_counter() - start}
        for precision, steps in ours.items():
            start = time.perf_counter()
            waited = parts.of(steps, phase)["data"]
            seconds[precision] = time.perf_counter() - start
            if i:
                share[precision] = min(share[precision], waited / seconds[precision])
        if i:  # the first round warms up
            best = {name: min(best[name], seconds[name]) for name in best}
        status(
            f"{resolution}x{resolution} round {i}: " + ", ".join(f"{k} {v:.3f} s" for k, v in seconds.items())
        )
    return {
        "resolution": resolution,
        "minibatch": minibatch,
        "seconds": {name: round(value, 4) for name, value in best.items()},
        "fp32_vs_textbook": round(best["textbook"] / best["fp32"], 2),
        "bf16_vs_textbook": round(best["textbook"] / best["bf16"], 2),
        "data_share": {name: round(value, 4) for name, value in share.items()},
    }


if __name__ == "__main__":
    main()
