"""Pictures of a report."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from celebahq.files import atomic_path
from swd.method.measured import Estimate
from swd.pipeline.distance import Distance
from swd.report import AVERAGE, Report, Result, is_clear

_LABEL = "SWD x 1000 (lower is better)"


def plot_levels(report: Report, path: Path) -> None:
    """Bars per level, one for each set of fakes and each comparison of reals with reals, with error bars."""

    def draw(axes: Any) -> None:
        rows = [(row.name, row.distance) for row in report.rows if row.distance]
        ticks = [f"{resolution} px" for resolution in report.protocol.resolutions] + [AVERAGE]
        width = 0.8 / len(rows)
        for number, (label, distance) in enumerate(rows):
            estimates = [*distance.levels.values(), distance.average]
            positions = [tick - 0.4 + (number + 0.5) * width for tick in range(len(ticks))]
            axes.bar(
                positions,
                [estimate.value for estimate in estimates],
                width,
                yerr=[math.nan if estimate.se is None else estimate.se for estimate in estimates],
                capsize=3,
                label=_literal(label),
            )
        axes.set_xticks(range(len(ticks)), ticks)
        axes.set_title(f"{report.protocol.images:,} images per set, error bars: one standard error")

    _save(draw, path)


def plot_track(report: Report, path: Path) -> None:
    """A curve per level over the sets of fakes, as figure 4 of Karras et al. 2018.

    A dotted line of the same colour is the level's figure of disjoint reals: what a perfect generator gets
    with as many images as the title says of them.
    """

    def draw(axes: Any) -> None:
        fakes = [row for row in report.fakes if row.distance]
        reals = report.row("disjoint")
        disjoint = reals.distance if reals else None
        for level in [*report.protocol.resolutions, None]:
            estimates = [_estimate(row.distance, level) for row in fakes if row.distance]
            container = axes.errorbar(
                range(len(estimates)),
                [estimate.value for estimate in estimates],
                yerr=[math.nan if estimate.se is None else estimate.se for estimate in estimates],
                capsize=3,
                marker="o",
                linewidth=3 if level is None else 1.5,
                label=AVERAGE if level is None else f"{level} px",
            )
            if disjoint is not None:
                floor = _estimate(disjoint, level).value
                axes.axhline(floor, color=container[0].get_color(), linestyle=":", linewidth=1)
        short = _short_names([row.name for row in fakes])
        ticks = [_literal(short[row.name] + _star(row)) for row in fakes]
        axes.set_xticks(range(len(ticks)), ticks, rotation=30, ha="right")
        dotted = f"; dotted: {disjoint.images:,} reals against as many others" if disjoint else ""
        baseline = _literal(short.get(report.baseline or "", ""))
        starred = f"; *: average differs from {baseline}'s by more than 2 se"
        stars = starred if any(map(_star, fakes)) else ""
        axes.set_title(f"{report.protocol.images:,} images per set{dotted}{stars}", fontsize="medium")

    _save(draw, path)


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """The last parts of paths where these tell them apart."""
    last = {name: Path(name).name for name in names}
    return last if len(set(last.values())) == len(last) else {name: name for name in names}


def _star(row: Result) -> str:
    """A mark for a set whose average differs from the baseline's by more than two standard errors."""
    return " *" if row.difference and is_clear(row.difference.average) else ""


def _estimate(distance: Distance, level: int | None) -> Estimate:
    return distance.average if level is None else distance.levels[level]


def _literal(label: str) -> str:
    """A name as it is: matplotlib sets what stands between dollars as a formula, and hides `_names`."""
    text = os.fsencode(label).decode(errors="replace").replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _save(draw: Callable[[Any], None], path: Path) -> None:
    """Draw one pair of axes and write it to `path`, in the format of its ending."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes)
    axes.set_ylabel(_LABEL)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4)  # beside the axes, where it hides nothing
    with atomic_path(path) as partial:
        figure.savefig(partial, format=path.suffix.removeprefix(".").lower() or "png", dpi=120)
