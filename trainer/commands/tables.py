"""Tables for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import TrainingSchedule

if TYPE_CHECKING:
    from trainer.training.bench import BenchRow


def schedule_table(config: TrainingConfig) -> str:
    """A run resolution by resolution: fade and stable kimg, minibatch, learning rate, D updates."""
    stages = TrainingSchedule(config.schedule).stages(config.train.total_kimg, config.train.minibatch_repeats)
    rows = [
        [
            f"{stage.resolution}x{stage.resolution}",
            f"{stage.fade_kimg:g}",
            f"{stage.stable_kimg:g}",
            f"{stage.end_kimg:g}",
            str(stage.minibatch),
            f"{stage.learning_rate:g}",
            f"{stage.d_updates:,}",
        ]
        for stage in stages
    ]
    header = ["resolution", "fades from kimg", "stable from", "to", "minibatch", "learning rate", "D updates"]
    return table(header, rows)


def bench_table(rows: "Sequence[BenchRow]") -> str:
    """Speed, memory and shares at each resolution."""
    parts = list(rows[0].share) if rows else []
    cells = [
        [
            f"{row.resolution}x{row.resolution}",
            f"{row.minibatch} ({row.minibatch_gpu})",
            f"{row.images_per_sec:.1f}",
            f"{row.sec_per_kimg:.2f}",
            f"{row.memory_gb:.2f}",
            f"{row.tflops:.3f}",
            *(f"{100 * row.share[part]:.1f} %" for part in parts),
        ]
        for row in rows
    ]
    header = ["resolution", "minibatch (pass)", "images/s", "s/kimg", "GB", "TFLOP/s", *parts]
    return table(header, cells)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Right-aligned columns."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
