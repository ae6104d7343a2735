"""A run's page, `RUN/index.html`: how far it is, its curves and its newest images; it reloads itself."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celebahq.errors import ToolError
from celebahq.files import read_json, read_jsonl, write_text
from trainer.storage.run_status import METRICS, STATS, RunStatus, run_status

log = logging.getLogger(__name__)

PAGE = "index.html"
EVALUATION = "evaluation.json"
"""What `trainer evaluate` keeps in the run's folder."""
WIDTH, HEIGHT = 720, 180
"""Of a curve's axes, in the drawing's units."""
RELOAD_SEC = 30
POINTS = 400
"""The most that a curve is drawn with."""


@dataclass(frozen=True)
class Curve:
    """One figure over kimg, scaled to the drawing."""

    name: str
    points: str
    """As SVG's polyline takes them."""
    last: float


@dataclass(frozen=True)
class Chart:
    """Curves on common axes; `low` and `high` are the ends of the vertical one."""

    title: str
    curves: Sequence[Curve]
    low: float
    high: float
    last_kimg: float


def chart(title: str, records: Sequence[dict[str, Any]], names: Sequence[str]) -> Chart | None:
    """The figures `names` of the records over kimg; None where there are not two values of any."""
    thinned = records[:: max(1, len(records) // POINTS)]
    series = {name: [(r["kimg"], r[name]) for r in thinned if name in r] for name in names}
    series = {name: points for name, points in series.items() if len(points) > 1}
    values = [value for points in series.values() for _, value in points]
    if not values:
        return None
    low, high = min(values), max(values)
    last_kimg = max(points[-1][0] for points in series.values())
    height = max(high - low, 1e-9)

    def place(kimg: float, value: float) -> str:
        return f"{WIDTH * kimg / max(last_kimg, 1e-9):.1f},{HEIGHT * (high - value) / height:.1f}"

    curves = [
        Curve(name, " ".join(place(*point) for point in points), points[-1][1])
        for name, points in series.items()
    ]
    return Chart(title, curves, low, high, last_kimg)


@dataclass(frozen=True)
class Scores:
    """Measured snapshots: a line of text cells for each, the first column its kimg."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def scores_of_metrics(metrics: Sequence[dict[str, Any]]) -> Scores | None:
    """What the run itself has measured of its snapshots; None where it measures nothing."""
    if not metrics:
        return None
    names = [name for name in metrics[-1] if name not in ("nimg", "kimg")]
    rows = [[f"{record['kimg']:,.1f}", *(_number(record.get(name)) for name in names)] for record in metrics]
    return Scores("Snapshots, as the run measures them", ["kimg", *map(_spelled, names)], rows)


def scores_of_evaluation(report: dict[str, Any] | None) -> Scores | None:
    """What `trainer evaluate` has found; None where it was not asked for distances."""
    if report is None or not all("swd" in row for row in report["sets"]):
        return None
    named = [(row["fake"].removesuffix(" kimg"), row) for row in report["sets"]]
    disjoint = report["reference"]["disjoint"]
    if disjoint is not None:
        named.append(("reals, two halves", {"swd": disjoint}))
    levels = list(named[0][1]["swd"]["levels"])
    rows = []
    for name, row in named:
        estimates = [*(row["swd"]["levels"][level] for level in levels), row["swd"]["average"]]
        rows.append([name, *map(_with_error, estimates), _number(row.get("ms_ssim", {}).get("value"))])
    head = ["kimg", *(f"{level} px" for level in levels), "SWD", "MS-SSIM"]
    return Scores(f"Snapshots, by trainer evaluate on {report['images']:,} images", head, rows)


def _spelled(name: str) -> str:
    """`swd_64` is `64 px`."""
    known = {"swd": "SWD", "ms_ssim": "MS-SSIM"}
    return known.get(name) or f"{name.removeprefix('swd_')} px"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _with_error(estimate: dict[str, Any]) -> str:
    error = "" if estimate["se"] is None else f" ± {estimate['se']:.1f}"
    return f"{estimate['value']:.1f}{error}"


def render_run_page(folder: Path) -> str:
    """The page of the run in `folder`, as HTML; its pictures are the run's own files beside it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    status = run_status(folder)
    stats, metrics = (read_jsonl(p) if p.is_file() else [] for p in (folder / STATS, folder / METRICS))
    levels = [name for name in (metrics[-1] if metrics else {}) if name.startswith("swd")]
    charts = [
        chart("Losses", stats, ["loss_D", "loss_G"]),
        chart("Sliced Wasserstein distance x 1000", metrics, levels),
        chart("Images per second", stats, ["images_per_sec"]),
    ]
    evaluation = read_json(folder / EVALUATION) if (folder / EVALUATION).is_file() else None
    scores = [scores_of_metrics(metrics), scores_of_evaluation(evaluation)]
    environment = Environment(
        loader=PackageLoader("trainer"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("run.html").render(
        run=status,
        lines=status.lines(lasting=True)[1:],
        heading=_heading(status),
        charts=[drawn for drawn in charts if drawn is not None],
        scores=[table for table in scores if table is not None],
        reload_sec=0 if status.state == "finished" else RELOAD_SEC,
        width=WIDTH,
        height=HEIGHT,
    )


def _heading(status: RunStatus) -> str:
    return status.lines()[0].partition(": ")[2]


def write_run_page(folder: Path) -> None:
    """Write the page of the run in `folder`; what cannot be written is a warning, for no run ends of it."""
    try:
        write_text(folder / PAGE, render_run_page(folder))
    except (ToolError, OSError) as err:  # another command may be writing it now
        log.warning(f"the run's page stays as it is: {err}")
