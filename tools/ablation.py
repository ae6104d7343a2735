"""Rows of the paper's table 1 at a small common scale, one command each, and their table.

    python tools/ablation.py --data faces.h5 --outdir ablation
    python tools/ablation.py --data faces.h5 --outdir ablation --print-commands

Each row is its published preset with smaller networks, fewer images and a shorter memory of the running
average; learning rates, minibatches, losses, normalizations and D repeats stay those of the row. At such a
scale the table shows that every row trains; its order says little about the order at full scale.
"""

import json
import math
import shlex
import sys
from pathlib import Path

import click
import torch

from celebahq.console import status
from swd.report import as_json
from trainer.cli import main as trainer_command
from trainer.configuration.presets import preset
from trainer.storage.checkpoint import snapshots
from trainer.use.evaluate import evaluate

ROWS = ("a", "b", "e", "f", "g")


def row_arguments(row: str, data: Path, outdir: Path, resolution: int, kimg: float, seed: int) -> list[str]:
    """Arguments of `trainer` that train one row."""
    published = preset(f"table1-{row}").train
    # The paper's average remembers about 1000 G steps of 16 images; a run this short has not that many.
    ema_beta = 0.99 ** round(math.log(published.ema_beta) / math.log(0.999))
    changes = [
        f"resolution={resolution}",
        "generator.fmap_base=256",
        "generator.fmap_max=32",
        "discriminator.fmap_base=256",
        "discriminator.fmap_max=32",
        f"train.total_kimg={kimg}",
        f"train.ema_beta={ema_beta}",
        f"schedule.tick_kimg={kimg / 4}",
        "snapshot.image_ticks=4",
        "snapshot.network_ticks=4",
    ]
    if row == "a":
        changes.append(f"schedule.initial_resolution={resolution}")
    else:
        octaves = resolution.bit_length() - 3  # of growing, from 4x4
        changes += [f"schedule.{name}={kimg / (3 * octaves + 1):g}" for name in ("train_kimg", "trans_kimg")]
    arguments = ["run", "--data", str(data), "--preset", f"table1-{row}", "--outdir", str(outdir / row)]
    arguments += ["--seed", str(seed), "--device", "cpu"]
    return arguments + [part for change in changes for part in ("--set", change)]


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--outdir", type=click.Path(path_type=Path), required=True)
@click.option("--rows", default=",".join(ROWS), show_default=True)
@click.option("--resolution", default=16, show_default=True)
@click.option("--kimg", default=8.0, show_default=True, help="Real images of each row, in thousands.")
@click.option("--images", default=2000, show_default=True, help="For the distance, at most.")
@click.option("--seed", default=0, show_default=True)
@click.option("--print-commands", is_flag=True, help="Only say what would be run.")
def main(
    data: Path,
    outdir: Path,
    rows: str,
    resolution: int,
    kimg: float,
    images: int,
    seed: int,
    print_commands: bool,
) -> None:
    """Train the rows that are not there yet, then print one JSON object per row."""
    for row in rows.split(","):
        arguments = row_arguments(row, data, outdir, resolution, kimg, seed)
        if print_commands:
            click.echo("trainer " + shlex.join(arguments))
            continue
        if not (outdir / row).exists():
            status(f"row ({row})")
            trainer_command(arguments, standalone_mode=False)
        files = snapshots(next((outdir / row).glob("00000-*")))
        report = evaluate(
            [files[0], files[-1]],
            data,
            torch.device("cpu"),
            images=images,
            resolution=resolution,
            seed=seed,
            metrics=("swd",),  # MS-SSIM has five scales: too many for 16 pixels
        )
        click.echo(json.dumps({"row": row, **as_json(report)}))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
