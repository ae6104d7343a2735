"""Does augmentation help where photos are few? Training on some of a folder, judged by the others.

    python tools/few_photos.py --photos ffhq256/real --outdir few-photos
    python tools/few_photos.py --photos ffhq256/real --outdir few-photos --print-commands

Runs with and without `data.augment`, two seeds each, on 300 photos at 32x32; every snapshot's sliced
Wasserstein distance to the photos that were kept back; a table and a plot. Interrupted, the same command
goes on; with more --kimg it makes finished runs longer.
"""

import json
import shlex
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from celebahq.console import status
from celebahq.files import write_json
from celebahq.pyramid import PyramidWriter
from trainer.cli import main as trainer_command
from trainer.storage.checkpoint import snapshots
from trainer.use.evaluate import evaluate

KINDS = {"plain": "", "augmented": "color,translation,cutout"}
STAGE_KIMG = 2.0
"""Of growing, of each resolution, and of a tick."""


def read_photo(path: Path, side: int) -> NDArray[np.uint8]:
    """`[3, side, side]`, averaged over blocks of pixels."""
    with Image.open(path) as photo:
        small = photo.convert("RGB").resize((side, side), Image.Resampling.BOX)
    return np.asarray(small).transpose(2, 0, 1)


def split_photos(folder: Path, outdir: Path, side: int, count: int) -> tuple[Path, Path]:
    """Two pyramids: `count` photos drawn by a fixed seed to train on, and the others."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".png", ".jpg"))
    order = np.random.default_rng(0).permutation(len(files))
    parts = (outdir / "train.h5", order[:count]), (outdir / "others.h5", order[count:])
    for path, chosen in parts:
        if not path.exists():
            with PyramidWriter(path, side) as pyramid:
                pyramid.append(np.stack([read_photo(files[i], side) for i in sorted(chosen)]))
    return parts[0][0], parts[1][0]


def run_arguments(kind: str, seed: int, data: Path, outdir: Path, side: int, kimg: float) -> list[str]:
    """Arguments of `trainer` that train one network: `faces-64` made smaller and grown faster."""
    length = ["--device", "cpu", "--set", f"train.total_kimg={kimg:g}"]
    begun = find_run(outdir, kind, seed)
    if begun:
        return ["resume", str(begun), *length]
    changes = [
        f"name={kind}-{seed}",
        f"resolution={side}",
        f"data.augment={KINDS[kind]}",
        f"train.seed={seed}",
        *(f"schedule.{name}={STAGE_KIMG:g}" for name in ("train_kimg", "trans_kimg", "tick_kimg")),
        *(f"{network}.fmap_base=128" for network in ("generator", "discriminator")),
        *(f"{network}.fmap_max=64" for network in ("generator", "discriminator")),
        *(f"{network}.fused_scale=true" for network in ("generator", "discriminator")),
        "runtime.channels_last=true",
        "snapshot.image_ticks=6",
        "snapshot.network_ticks=3",
    ]
    arguments = ["run", "--data", str(data), "--preset", "faces-64", "--outdir", str(outdir), *length]
    return arguments + [part for change in changes for part in ("--set", change)]


def find_run(outdir: Path, kind: str, seed: int) -> Path | None:
    """The folder of a run that was begun."""
    return next(outdir.glob(f"*-{kind}-{seed}"), None)


def distances(run: Path, others: Path) -> list[tuple[float, float]]:
    """Kimg and SWD x 1000 of every snapshot but the untrained one."""
    files = snapshots(run)[1:]
    report = evaluate(files, others, torch.device("cpu"), metrics=("swd",))
    kimg = [int(file.stem.rpartition("-")[2]) / 1000 for file in files]
    distances = [row.distance.average.value for row in report.fakes if row.distance]
    return list(zip(kimg, distances, strict=True))


def plot(tracks: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """Distance over kimg, one line per run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, track in tracks.items():
        color = "tab:orange" if name.startswith("augmented") else "tab:blue"
        axes.plot(*zip(*track, strict=True), color=color, label=name, alpha=0.8)
    axes.set_xlabel("kimg")
    axes.set_ylabel("SWD x 1000 to photos not trained on")
    axes.legend()
    figure.savefig(path)


@click.command()
@click.option("--photos", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--outdir", type=click.Path(path_type=Path), required=True)
@click.option("--count", default=300, show_default=True, help="Photos to train on.")
@click.option("--resolution", default=32, show_default=True)
@click.option("--kimg", default=300.0, show_default=True, help="Real images of each run, in thousands.")
@click.option("--seeds", default=2, show_default=True)
@click.option("--print-commands", is_flag=True, help="Only say what would be run.")
def main(
    photos: Path, outdir: Path, count: int, resolution: int, kimg: float, seeds: int, print_commands: bool
) -> None:
    """Train the runs that are not finished, judge them, print one JSON object per run."""
    outdir.mkdir(parents=True, exist_ok=True)
    data, others = split_photos(photos, outdir, resolution, count)
    tracks = {}
    for seed in range(seeds):
        for kind in KINDS:
            arguments = run_arguments(kind, seed, data, outdir, resolution, kimg)
            if print_commands:
                click.echo("trainer " + shlex.join(arguments))
                continue
            status(f"{kind}, seed {seed}")
            trainer_command(arguments, standalone_mode=False)
            run = find_run(outdir, kind, seed)
            assert run
            track = distances(run, others)
            tracks[f"{kind}-{seed}"] = track
            best = min(value for _, value in track)
            click.echo(json.dumps({"run": f"{kind}-{seed}", "best": best, "last": track[-1][1]}))
    if tracks:
        write_json(outdir / "few-photos.json", tracks)
        plot(tracks, outdir / "few-photos.png")


if __name__ == "__main__":
    main()
