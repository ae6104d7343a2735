"""Trainings that make a table: what `tools/ablation.py` and `tools/mnist_modes.py` share.

Every run has a folder of its own and is trained by `trainer run --resume`, so that the same command goes on
where it was interrupted, and does nothing for runs that are finished.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from celebahq.console import status
from trainer.cli import main as trainer_command
from trainer.storage.checkpoint import snapshots


@dataclass(frozen=True)
class TableRun:
    """One cell of a table."""

    row: str
    seed: int
    preset: str
    changes: Mapping[str, object]
    """Of the preset's fields, by their dotted names."""

    def folder(self, outdir: Path) -> Path:
        """Where its run lies."""
        return outdir / f"{self.row}-{self.seed}"

    def arguments(self, data: Path, outdir: Path) -> list[str]:
        """Those of `trainer` that begin or continue it."""
        arguments = ["run", "--resume", "--data", str(data), "--preset", self.preset]
        arguments += ["--outdir", str(self.folder(outdir)), "--seed", str(self.seed), "--device", "cpu"]
        return arguments + [
            part for name, value in self.changes.items() for part in ("--set", f"{name}={value}")
        ]

    def train(self, data: Path, outdir: Path) -> list[Path]:
        """Train it to its end; its snapshots, the untrained one first."""
        status(f"{self.row}, seed {self.seed}")
        trainer_command(self.arguments(data, outdir), standalone_mode=False)
        return snapshots(next(self.folder(outdir).glob("0*")))


def mean_and_spread(values: Sequence[float], digits: int = 1) -> str:
    """The mean over seeds with the sample standard deviation between them, where there are several."""
    mean = f"{statistics.fmean(values):,.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):,.{digits}f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as README and docs have them."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])
