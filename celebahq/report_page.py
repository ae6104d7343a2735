"""A build's report as a page that needs no other file."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from celebahq.console import format_duration, in_words
from celebahq.files import write_text
from celebahq.report import BuildReport, Ranked, report_paths

TILE_PX = 128
HISTOGRAM_BINS = 40
WIDTH, HEIGHT = 800, 200
"""Of the histogram's axes, in the drawing's units."""
LEFT, TOP, BELOW = 70, 44, 62
"""Room for labels around them."""


@dataclass(frozen=True)
class Tile:
    """A small picture with its name and a line of text."""

    picture: np.ndarray | None
    """`(H, W, 3)` uint8 RGB; None where there is none."""
    name: str
    """Of the photo."""
    caption: str


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


def write_report(report: BuildReport, sections: Mapping[str, Sequence[Tile]]) -> None:
    """Write `build-report.json` and `build-report.html` beside the data set.

    Args:
        report: The facts.
        sections: Title -> pictures.
    """
    json_path, html_path = report_paths(report.out)
    report.write(json_path)
    write_text(html_path, render_page(report, sections))


def render_page(report: BuildReport, sections: Mapping[str, Sequence[Tile]]) -> str:
    """The page, as HTML."""
    template = environment().get_template("build-report.html")
    duration = format_duration(report.elapsed_sec)
    return template.render(
        report=report,
        rate=f"{report.images_per_sec:.3g} images/s, {duration} in the last run",
        counts={what.replace("_", " "): f"{count:,}" for what, count in report.counts.items()},
        histogram=_histogram(report.ranking) if report.ranking else None,
        sections={title: [shown(tile) for tile in tiles] for title, tiles in sections.items()},
        reasons=_reasons(report),
        parameters={name: in_words(value) for name, value in report.parameters.items()},
    )


def environment() -> Environment:
    """Of the pages' templates."""
    return Environment(
        loader=PackageLoader("celebahq"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


def shown(tile: Tile) -> dict[str, str]:
    """A tile as the templates take it."""
    source = "" if tile.picture is None else _data_url(tile.picture)
    return {"source": source, "name": tile.name, "caption": tile.caption}


def _data_url(picture: np.ndarray) -> str:
    height, width = picture.shape[:2]
    scale = TILE_PX / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _reasons(report: BuildReport) -> dict[str, str]:
    counts = Counter(f"{skip.stage}: {skip.reason}" for skip in report.skipped)
    return {reason: f"{count:,}" for reason, count in counts.most_common(50)}


def _histogram(ranking: Sequence[Ranked]) -> dict[str, Any]:
    """Bars of the scores, the kept part of each bar over the whole one, and the axes."""
    scores = np.array([image.score for image in ranking])
    kept = np.array([image.kept for image in ranking])
    counts, edges = np.histogram(scores, HISTOGRAM_BINS)
    kept_counts = np.histogram(scores[kept], edges)[0]
    tallest, bar = int(counts.max()), WIDTH / HISTOGRAM_BINS
    low, high = float(edges[0]), float(edges[-1])
    bars = [
        {
            "kind": kind,
            "x": round(i * bar, 1),
            "y": round(HEIGHT - number / tallest * HEIGHT, 1),
            "width": round(bar - 1, 1),
            "height": round(number / tallest * HEIGHT, 1),
        }
        for kind, numbers in (("left", counts.tolist()), ("kept", kept_counts.tolist()))
        for i, number in enumerate(numbers)
    ]
    scores_at = round_numbers(low, high)
    counts_at = [count for count in round_numbers(0, tallest) if count == int(count)]
    return {
        "view_box": f"{-LEFT} {-TOP} {WIDTH + LEFT + 10} {HEIGHT + TOP + BELOW}",
        "width": WIDTH,
        "height": HEIGHT,
        "bars": bars,
        "x_ticks": [Tick((score - low) / (high - low) * WIDTH, f"{score:g}") for score in scores_at],
        "y_ticks": [Tick(HEIGHT - count / tallest * HEIGHT, f"{count:,.0f}") for count in counts_at],
        "text": f"{int(kept.sum()):,} kept (blue), {int((~kept).sum()):,} left out (grey)",
    }


def round_numbers(low: float, high: float) -> list[float]:
    """A handful of round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 5
    power = 10 ** floor(log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if rough <= factor * power)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)  # a bound that is round is one of them
    return [round(n * step, 12) for n in range(first, last + 1)]
