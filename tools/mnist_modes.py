"""The paper's table of MNIST with 1,000 modes (appendix D), at the paper's length or a fraction of it.

\b
    celebahq import mnist-rgb MNIST_DIR -o mnist-rgb.h5
    celebahq import mnist MNIST_DIR -o mnist.h5
    python tools/train_mnist_classifier.py mnist.h5 --out digits.safetensors
    python tools/mnist_modes.py --data mnist-rgb.h5 --classifier digits.safetensors --outdir modes

A fraction shortens the runs, their growing and the rise of the learning rate alike, and the memory of the
running average. Interrupted, the same command goes on.
"""

import shlex
from pathlib import Path

import click
import torch
from table_runs import TableRun, markdown, mean_and_spread

from celebahq.arguments import FILE
from trainer.configuration.presets import preset
from trainer.use.modes import load_classifier, score_modes
from trainer.use.options import ModeCount
from trainer.use.snapshot import load_snapshot

ROWS = {
    "WGAN-GP": "",
    "+ normalizations": "+ournorm",
    "+ minibatch stddev": "+ournorm+mbstddev",
    "+ growing": "+ournorm+mbstddev+progression",
}
SIZES = {"K/4": "", "K/2": "+k2"}
COUNTS = {"modes": 1, "KL": 2}


def modes_run(row: str, size: str, seed: int, fraction: float) -> TableRun:
    """One cell of the table."""
    name = f"mnist-rgb-1k{ROWS[row]}{SIZES[size]}"
    published = preset(name)
    schedule, train = published.schedule, published.train
    changes = {
        "train.total_kimg": fraction * train.total_kimg,
        "train.ema_beta": train.ema_beta ** max(1.0, 0.1 / fraction),
        "schedule.train_kimg": fraction * schedule.train_kimg,
        "schedule.trans_kimg": fraction * schedule.trans_kimg,
        "schedule.rampup_kimg": fraction * schedule.rampup_kimg,
        "schedule.tick_kimg": max(fraction * train.total_kimg / 20, 1.0),
        "snapshot.network_ticks": 5,
    }
    return TableRun(name.removeprefix("mnist-rgb-1k") or "+plain", seed, name, changes)


@click.command(help=__doc__)
@click.option("--data", type=FILE, required=True, metavar="FILE.h5")
@click.option("--classifier", "digits", type=FILE, required=True, metavar="FILE.safetensors")
@click.option("--outdir", type=click.Path(path_type=Path), required=True)
@click.option("--fraction", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True)
@click.option("--seeds", default="0", show_default=True)
@click.option("--rows", default=",".join(ROWS), show_default=True)
@click.option("--repeats", default=10, show_default=True, help="Samples of images per score, as published.")
@click.option("--print-commands", is_flag=True, help="Only say what would be run.")
def main(
    data: Path,
    digits: Path,
    outdir: Path,
    fraction: float,
    seeds: str,
    rows: str,
    repeats: int,
    print_commands: bool,
) -> None:
    """Train what is missing, then print the table."""
    device = torch.device("cpu")
    classifier = load_classifier(digits, device)
    scores: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for seed in map(int, seeds.split(",")):
        for row in rows.split(","):
            for size in SIZES:
                run = modes_run(row, size, seed, fraction)
                if print_commands:
                    click.echo("trainer " + shlex.join(run.arguments(data, outdir)))
                    continue
                snapshot = load_snapshot(run.train(data, outdir)[-1], device)
                score = score_modes(snapshot, classifier, seed=seed, count=ModeCount(repeats=repeats))
                scores.setdefault((row, size), []).append((score.modes, score.kl))
    if not print_commands:
        header = ["row", *(f"{what}, {size}" for size in SIZES for what in COUNTS)]
        table = [
            [row]
            + [
                mean_and_spread([score[index] for score in scores[row, size]], digits)
                for size in SIZES
                for index, digits in enumerate(COUNTS.values())
            ]
            for row in rows.split(",")
        ]
        click.echo(markdown(header, table))


if __name__ == "__main__":
    main()
