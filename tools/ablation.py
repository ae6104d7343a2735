"""Rows of the paper's table 1 at a small common scale, several seeds each, and their table.

    python tools/ablation.py --data faces.h5 --outdir ablation
    python tools/ablation.py --data faces.h5 --outdir ablation --print-commands

Each row is its published preset with smaller networks, fewer images and a shorter memory of the running
average; learning rates, minibatches, losses, normalizations and D repeats stay those of the row, and row (h)
has four times the capacity of the others, as there. Interrupted, the same command goes on.
"""

import math
import shlex
from pathlib import Path

import click
import torch
from table_runs import TableRun, markdown, mean_and_spread

from celebahq.arguments import FILE
from trainer.configuration.presets import preset
from trainer.use.evaluate import evaluate

ROWS = ("a", "b", "c", "d", "e-star", "e", "f", "g", "h")


def ablation_run(row: str, seed: int, resolution: int, kimg: float) -> TableRun:
    """One row of the table, made small."""
    published = preset(f"table1-{row}").train
    fmap_base = 1024 if row == "h" else 256
    changes: dict[str, object] = {
        "resolution": resolution,
        "generator.fmap_base": fmap_base,
        "generator.fmap_max": 32,
        "discriminator.fmap_base": fmap_base,
        "discriminator.fmap_max": 32,
        "train.total_kimg": kimg,
        # The paper's average remembers about 1000 G steps of 16 images; a run this short has not that many.
        "train.ema_beta": 0.99 ** round(math.log(published.ema_beta) / math.log(0.999)),
        "schedule.tick_kimg": kimg / 4,
        "snapshot.image_ticks": 4,
        "snapshot.network_ticks": 4,
    }
    if row == "a":
        changes["schedule.initial_resolution"] = resolution
    else:
        octaves = resolution.bit_length() - 3  # of growing, from 4x4
        stage_kimg = f"{kimg / (3 * octaves + 1):g}"
        changes |= {"schedule.train_kimg": stage_kimg, "schedule.trans_kimg": stage_kimg}
    return TableRun(row, seed, f"table1-{row}", changes)


@click.command(help=__doc__)
@click.option("--data", type=FILE, required=True, metavar="FILE.h5")
@click.option("--outdir", type=click.Path(path_type=Path), required=True)
@click.option("--rows", default=",".join(ROWS), show_default=True)
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option("--resolution", default=32, show_default=True)
@click.option("--kimg", default=12.0, show_default=True, help="Real images of each row, in thousands.")
@click.option("--images", type=click.IntRange(min=2), help="For the distance  [default: all reals].")
@click.option("--print-commands", is_flag=True, help="Only say what would be run.")
def main(
    data: Path,
    outdir: Path,
    rows: str,
    seeds: str,
    resolution: int,
    kimg: float,
    images: int | None,
    print_commands: bool,
) -> None:
    """Train what is missing of all rows, then print the table."""
    cells: dict[str, list[list[float]]] = {row: [] for row in rows.split(",")}
    levels: list[str] = []
    # Seed by seed, so that an early end leaves every row with as many.
    for seed in map(int, seeds.split(",")):
        for row, found in cells.items():
            run = ablation_run(row, seed, resolution, kimg)
            if print_commands:
                click.echo("trainer " + shlex.join(run.arguments(data, outdir)))
                continue
            report = evaluate(
                [run.train(data, outdir)[-1]],
                data,
                torch.device("cpu"),
                images=images,
                metrics=("swd",),  # MS-SSIM has five scales: too many for so few pixels
            )
            distance = report.fakes[0].distance
            assert distance is not None
            levels = [f"{level} px" for level in distance.levels]
            found.append([*(each.value for each in distance.levels.values()), distance.average.value])
    if not print_commands:
        table = [
            [f"({row})".replace("-star", "*"), *map(mean_and_spread, zip(*found, strict=True))]
            for row, found in cells.items()
        ]
        click.echo(markdown(["row", *levels, "average"], table))


if __name__ == "__main__":
    main()
