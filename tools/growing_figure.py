"""Quality over images shown and over hours, for runs with growing and without: the paper's figure 4.

\b
    trainer run --data faces.h5 --preset faces-64 --outdir growing
    trainer run --data faces.h5 --preset faces-64 --outdir fixed --set schedule.initial_resolution=64
    python tools/growing_figure.py growing/00000-* fixed/00000-* --data faces.h5 --plot figure4.png

Every snapshot's sliced Wasserstein distance to the data, level by level. A run's hours are those of its
images on this device when nothing else runs: seconds per image at each resolution, measured here, times the
images that its schedule showed there; so runs that shared a machine or were interrupted can be compared.
"""

from pathlib import Path
from typing import Any

import click
import torch
from growing_speedup import measure
from table_runs import markdown

from celebahq.arguments import FILE, NEW_PATH
from celebahq.files import atomic_path
from swd.report import Report
from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import TrainingSchedule
from trainer.storage.checkpoint import snapshots
from trainer.use.evaluate import evaluate
from trainer.use.snapshot import load_snapshot

DASHES = ("-", "--", ":", "-.")


def hours(config: TrainingConfig, kimg: float, sec_per_kimg: dict[int, float]) -> float:
    """Of training from the beginning until `kimg`."""
    stages = TrainingSchedule(config.schedule).stages(kimg, config.train.minibatch_repeats)
    return sum(s.d_updates * s.minibatch / 1000 * sec_per_kimg[s.resolution] for s in stages) / 3600


def figure(tracks: dict[str, tuple[list[float], list[float], Report]], path: Path) -> None:
    """Left over kimg, right over hours; a colour per level, a kind of line per run."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(11, 4.5), layout="constrained")
    panels: Any = drawing.subplots(1, 2, sharey=True)
    for dashes, (name, (kimg, spent, report)) in zip(DASHES, tracks.items(), strict=False):
        distances = [row.distance for row in report.fakes if row.distance]
        for color, level in enumerate(report.protocol.resolutions):
            values = [distance.levels[level].value for distance in distances]
            for panel, where in zip(panels, (kimg, spent), strict=True):
                panel.plot(where, values, dashes, color=f"C{color}", label=f"{name}, {level} px")
        for panel, where in zip(panels, (kimg, spent), strict=True):
            average = [distance.average.value for distance in distances]
            panel.plot(where, average, dashes, color="black", linewidth=2.5, label=f"{name}, average")
    panels[0].set(xlabel="kimg", ylabel="SWD x 1000 (lower is better)", ylim=(0, None))
    panels[1].set(xlabel="hours")
    panels[1].legend(fontsize="small")
    with atomic_path(path) as partial:
        drawing.savefig(partial, format=path.suffix.lstrip("."))


@click.command(help=__doc__)
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--data", type=FILE, required=True, metavar="FILE.h5")
@click.option("--plot", type=NEW_PATH, required=True, metavar="FILE.png")
@click.option("--steps", default=5, show_default=True, help="Timed ones at each resolution.")
def main(runs: tuple[Path, ...], data: Path, plot: Path, steps: int) -> None:
    """Print the table and draw the figure."""
    tracks = {}
    for run in runs:
        files = snapshots(run)[1:]  # the first is untrained
        loaded = [load_snapshot(file) for file in files]
        config, kimg = loaded[-1].config, [snapshot.nimg / 1000 for snapshot in loaded]
        stages = measure(config, kimg[-1], "cpu", steps)
        sec_per_kimg = {s.resolution: s.sec_per_kimg for s in stages if s.sec_per_kimg}
        spent = [hours(config, each, sec_per_kimg) for each in kimg]
        report = evaluate(files, data, torch.device("cpu"), metrics=("swd",))
        tracks[run.parent.name] = (kimg, spent, report)

        rows = []
        for row, at_kimg, at_hours in zip(report.fakes, kimg, spent, strict=True):
            assert row.distance is not None
            estimates = [*row.distance.levels.values(), row.distance.average]
            rows.append([f"{at_kimg:.0f}", f"{at_hours:.2f}", *(f"{e.value:.0f}" for e in estimates)])
        levels = [f"{level} px" for level in report.protocol.resolutions]
        click.echo(f"{run}\n\n{markdown(['kimg', 'hours', *levels, 'average'], rows)}\n")
    figure(tracks, plot)


if __name__ == "__main__":
    main()
