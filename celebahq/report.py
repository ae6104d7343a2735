"""What a build did, for machines (`build-report.json`) and for people (`build-report.html`)."""

import base64
import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from celebahq.console import format_duration
from celebahq.errors import ToolError
from celebahq.files import read_json, write_json, write_text

TILE_PX = 128
HISTOGRAM_BINS = 40


@dataclass(frozen=True)
class Ranked:
    """An image that got a score."""

    name: str
    score: float
    kept: bool


@dataclass(frozen=True)
class Skip:
    """Something that was left out before it got a score."""

    name: str
    stage: str
    reason: str
    failure: bool = False  # an error, not a choice


@dataclass(frozen=True)
class Tile:
    """A small picture with a line of text; `picture` is `(H, W, 3)` uint8 RGB, None where there is none."""

    picture: np.ndarray | None
    caption: str


@dataclass(frozen=True)
class BuildReport:
    """The facts of one build."""

    out: Path
    parameters: dict[str, Any]
    counts: dict[str, int]  # what -> how many, in the order of the stages
    notices: Sequence[str]
    ranking: Sequence[Ranked]  # the best first
    skipped: Sequence[Skip]
    elapsed_sec: float  # of the last run, where a build was continued
    images_per_sec: float  # of the last run

    @property
    def failures(self) -> list[Skip]:
        """What was skipped for an error."""
        return [skip for skip in self.skipped if skip.failure]

    @property
    def page(self) -> Path:
        """Where the readable report is."""
        return report_paths(self.out)[1]

    def summary(self) -> dict[str, Any]:
        """The numbers."""
        return {
            "file": self.out.name,
            "counts": self.counts,
            "failures": len(self.failures),
            "scores": summarize([image.score for image in self.ranking]),
            "elapsed_sec": round(self.elapsed_sec, 1),
            "images_per_sec": round(self.images_per_sec, 3),
        }

    def to_json(self) -> dict[str, Any]:
        """Everything, as one JSON object."""
        return {
            **self.summary(),
            "parameters": self.parameters,
            "notices": list(self.notices),
            "skip_reasons": dict(Counter(f"{skip.stage}: {skip.reason}" for skip in self.skipped)),
            "skipped": [asdict(skip) for skip in self.skipped],
            "ranking": [asdict(image) for image in self.ranking],
        }


def report_paths(out: Path) -> tuple[Path, Path]:
    """Where the report on `out` goes: `build-report.json` and `.html` beside it.

    In a folder that holds the report on another file: `NAME.build-report.json` and `.html`.
    """
    plain = out.with_name("build-report.json")
    if plain.exists() and not _reports_on(plain, out.name):
        plain = out.with_name(f"{out.stem}.build-report.json")
    return plain, plain.with_suffix(".html")


def _reports_on(path: Path, name: str) -> bool:
    try:
        return bool(read_json(path).get("file") == name)
    except ToolError:  # somebody else's file of that name: it stays
        return False


def write_report(report: BuildReport, sections: Mapping[str, Sequence[Tile]]) -> None:
    """Write both files beside the data set.

    Args:
        sections: Title -> pictures.
    """
    json_path, html_path = report_paths(report.out)
    write_json(json_path, report.to_json())
    write_text(html_path, render_page(report, sections))


def summarize(scores: Sequence[float]) -> dict[str, float]:
    """Least, 5 %, median, 95 % and greatest score; nothing for none."""
    if not scores:
        return {}
    values = np.quantile(np.asarray(scores, np.float64), [0, 0.05, 0.5, 0.95, 1])
    return dict(zip(["min", "p5", "median", "p95", "max"], map(float, values), strict=True))


def render_page(report: BuildReport, sections: Mapping[str, Sequence[Tile]]) -> str:
    """A page that needs no other file."""
    rate = f"{report.images_per_sec:.3g} images/s, {format_duration(report.elapsed_sec)} in the last run"
    parts = [
        f"<h1>{html.escape(report.out.name)}</h1>",
        f"<p>{rate}</p>",
        _table({what: f"{count:,}" for what, count in report.counts.items()}),
        *(f"<p class=notice>{html.escape(notice)}</p>" for notice in report.notices),
        *(["<h2>Quality scores</h2>", _histogram(report.ranking)] if report.ranking else []),
        *(_section(title, tiles) for title, tiles in sections.items() if tiles),
        "<h2>Reasons for leaving out</h2>",
        _reasons(report.skipped),
        "<h2>Parameters</h2>",
        _table({name: str(value) for name, value in report.parameters.items()}),
    ]
    return PAGE.format(title=html.escape(report.out.name), body="\n".join(parts))


def _section(title: str, tiles: Sequence[Tile]) -> str:
    return f"<h2>{html.escape(title)}</h2><div class=tiles>{''.join(map(_tile, tiles))}</div>"


def _tile(tile: Tile) -> str:
    caption = html.escape(tile.caption)
    if tile.picture is None:
        return f"<figure><div class=none>no picture</div><figcaption>{caption}</figcaption></figure>"
    height, width = tile.picture.shape[:2]
    scale = TILE_PX / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(tile.picture, size, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    source = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    return f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _table(rows: dict[str, str]) -> str:
    cells = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows.items()
    )
    return f"<table>{cells}</table>"


def _reasons(skipped: Sequence[Skip]) -> str:
    if not skipped:
        return "<p>nothing</p>"
    counts = Counter(f"{skip.stage}: {skip.reason}" for skip in skipped)
    shown = dict(counts.most_common(50))
    return _table({reason: f"{count:,}" for reason, count in shown.items()})


def _histogram(ranking: Sequence[Ranked]) -> str:
    """Bars of the scores as SVG, the kept part of each bar in the darker colour."""
    scores = np.array([image.score for image in ranking])
    kept = np.array([image.kept for image in ranking])
    counts, edges = np.histogram(scores, HISTOGRAM_BINS)
    kept_counts = np.histogram(scores[kept], edges)[0]
    width, height, bar = 800, 200, 800 / HISTOGRAM_BINS
    scale = height / max(counts.max(), 1)
    bars = "".join(
        f'<rect class={kind} x="{i * bar:.1f}" y="{height - number * scale:.1f}" '
        f'width="{bar - 1:.1f}" height="{number * scale:.1f}"/>'
        for kind, numbers in (("left", counts), ("kept", kept_counts))
        for i, number in enumerate(numbers)
    )
    ticks = [(0, "start", edges[0]), (width // 2, "middle", edges[HISTOGRAM_BINS // 2])]
    ticks.append((width, "end", edges[-1]))
    labels = "".join(
        f'<text x="{x}" y="{height + 16}" text-anchor="{anchor}">{value:.3g}</text>'
        for x, anchor, value in ticks
    )
    left_out = int((~kept).sum())
    text = f"{kept.sum():,} kept (dark), {left_out:,} left out; the tallest bar: {counts.max():,} images"
    return (
        f'<svg viewBox="0 0 {width} {height + 22}" role="img" aria-label="histogram of the scores">'
        f"{bars}{labels}</svg><p>{text}</p>"
    )


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1160px; margin: 2em auto; padding: 0 1em }}
h1 {{ font-size: 1.5em }}
h2 {{ font-size: 1.15em; margin-top: 2em }}
table {{ border-collapse: collapse }}
th {{ font-weight: normal; text-align: left; padding-right: 2em; min-width: 11em }}
td {{ text-align: right }} th, td {{ border-bottom: 1px solid #ddd; overflow-wrap: anywhere }}
.notice {{ background: #fff4d6; padding: .4em .8em; border-left: 4px solid #e0a800 }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fill, {tile}px); gap: 10px }}
figure {{ margin: 0; font-size: 11px; line-height: 1.3; overflow-wrap: anywhere }}
img, .none {{ display: block; margin-bottom: 2px }}
.none {{ width: {tile}px; height: 64px; background: #eee; text-align: center; line-height: 64px }}
svg {{ width: 100%; max-width: 800px; font-size: 12px }}
.left {{ fill: #c9d3df }} .kept {{ fill: #2f6db3 }}
</style></head><body>
{body}
</body></html>
""".replace("{tile}", str(TILE_PX))
