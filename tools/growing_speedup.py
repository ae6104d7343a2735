"""How much faster growing trains: seconds and operations of every resolution, over the whole schedule.

    python tools/growing_speedup.py --preset celebahq-1024-v1 --kimg 6400
    python tools/growing_speedup.py --preset table1-h --kimg 6000 --operations

Each resolution's cost per image is measured (`trainer bench` does the same) and summed over the images that
the schedule shows at it; without growing every image costs what one at the full resolution does. The
paper's figure 4(c) has 5.4 for CelebA-HQ at 6.4 million images. A fade computes two RGB layers more than is
counted here, less than 1 % of a step.
"""

import sys
from dataclasses import dataclass

import click

from celebahq.arguments import device_option, json_option
from celebahq.console import emit_json, resolve_device
from celebahq.errors import ToolError
from trainer.configuration.config import TrainingConfig
from trainer.configuration.presets import preset
from trainer.configuration.schedule import TrainingSchedule
from trainer.configuration.settings import override
from trainer.training.bench import bench
from trainer.training.costs import step_costs


@dataclass(frozen=True)
class Stage:
    """One resolution's part: thousands of images shown at it, and the cost of a thousand."""

    resolution: int
    kimg: float
    tflop_per_kimg: float
    sec_per_kimg: float | None


def measure(config: TrainingConfig, kimg: float, device: str, steps: int | None) -> list[Stage]:
    """Every resolution that the run reaches within `kimg`; seconds only where `steps` are to be timed."""
    shown = {
        stage.resolution: stage.d_updates * stage.minibatch / 1000
        for stage in TrainingSchedule(config.schedule).stages(kimg, config.train.minibatch_repeats)
    }
    full = config.schedule.resolution
    tflop = {resolution: cost.flops / 1e9 for resolution, cost in step_costs(config).items()}
    seconds: dict[int, float] = {}
    if steps is not None:
        wanted = sorted({*shown, full})
        rows = bench(config, None, resolve_device(device), resolutions=wanted, steps=steps)
        seconds = {row.resolution: row.sec_per_kimg for row in rows}
    return [
        Stage(resolution, shown.get(resolution, 0.0), tflop[resolution], seconds.get(resolution))
        for resolution in sorted({*shown, full})
    ]


def factor(stages: list[Stage], cost: str) -> float:
    """Cost of all images at the full resolution, in terms of that with growing."""
    growing = sum(stage.kimg * getattr(stage, cost) for stage in stages)
    return float(sum(stage.kimg for stage in stages) * getattr(stages[-1], cost) / growing)


@click.command(help=__doc__)
@click.option("--preset", "name", default="celebahq-1024-v1", show_default=True, metavar="NAME")
@click.option("--set", "changes", multiple=True, metavar="A.B=C", help="Change a field of the preset.")
@click.option("--kimg", type=click.FloatRange(min=0, min_open=True), help="Length  [default: the preset's].")
@click.option("--steps", type=click.IntRange(min=1), default=3, show_default=True, help="Timed ones.")
@click.option("--operations", is_flag=True, help="Count floating-point operations only; measure no time.")
@device_option
@json_option
def main(
    name: str,
    changes: tuple[str, ...],
    kimg: float | None,
    steps: int,
    operations: bool,
    device: str,
    as_json: bool,
) -> None:
    """Print the table and the factors."""
    config = override(preset(name), changes)
    kimg = kimg or config.train.total_kimg
    stages = measure(config, kimg, device, None if operations else steps)
    factors = {"operations": factor(stages, "tflop_per_kimg")}
    if not operations:
        factors["seconds"] = factor(stages, "sec_per_kimg")
    if as_json:
        emit_json({"preset": name, "kimg": kimg, "factors": factors, "stages": [vars(s) for s in stages]})
        return
    click.echo(f"{name}, {kimg:g} kimg")
    for stage in stages:
        seconds = "" if stage.sec_per_kimg is None else f"{stage.sec_per_kimg:12.2f} s/kimg"
        size = f"{stage.resolution}x{stage.resolution}"
        click.echo(f"{size:>10}{stage.kimg:10.1f} kimg{stage.tflop_per_kimg:12.1f} TFLOP/kimg{seconds}")
    for cost, value in factors.items():
        click.echo(f"without growing: {value:.2f} times the {cost}")


if __name__ == "__main__":
    try:
        main()
    except ToolError as err:
        sys.exit(f"growing_speedup: {err}")
