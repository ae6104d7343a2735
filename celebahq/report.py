"""What a build did: the facts, and where they are written."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, overload

import numpy as np

from celebahq.errors import ToolError
from celebahq.files import read_json, write_json_rows


@dataclass(frozen=True)
class Ranked:
    """An image that got a score."""

    name: str
    score: float
    kept: bool


@dataclass(frozen=True, eq=False)
class Ranking(Sequence[Ranked]):
    """The images with a score, the best first: made of columns when they are asked for."""

    names: Sequence[str]
    """Of all items."""
    scores: np.ndarray
    """Of all items."""
    order: np.ndarray
    """`[n]` items."""
    kept: int
    """So many of them, the first, are kept."""

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, place: int) -> Ranked: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Ranked]: ...
    def __getitem__(self, place: int | slice) -> Ranked | Sequence[Ranked]:
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        place = range(len(self))[place]
        item = int(self.order[place])
        return Ranked(self.names[item], float(self.scores[item]), place < self.kept)


@dataclass(frozen=True)
class Skip:
    """Something that was left out before it got a score."""

    name: str
    stage: str
    reason: str
    failure: bool = False
    """An error, not a choice."""


@dataclass(frozen=True)
class BuildReport:
    """The facts of one build."""

    out: Path
    parameters: dict[str, Any]
    counts: dict[str, int]
    """What, with underscores for spaces -> how many, in the order of the stages."""
    notices: Sequence[str]
    ranking: Sequence[Ranked]
    """The best first."""
    skipped: Sequence[Skip]
    elapsed_sec: float
    """Of the last run, where a build was continued."""
    images_per_sec: float
    """Of the last run."""
    repeats: Sequence[tuple[str, str]] = ()
    """Images whose face an earlier image shows: both names."""

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

    def write(self, path: Path) -> None:
        """Everything, as one JSON object with a line for each image that it lists."""
        facts = {
            **self.summary(),
            "parameters": self.parameters,
            "notices": list(self.notices),
            "skip_reasons": [
                {"stage": stage, "reason": reason, "count": count}
                for (stage, reason), count in Counter((s.stage, s.reason) for s in self.skipped).most_common()
            ],
        }
        rows: dict[str, Iterable[Any]] = {
            "repeats": self.repeats,
            "skipped": map(vars, self.skipped),
            "ranking": map(vars, self.ranking),
        }
        write_json_rows(path, facts, rows)


def report_paths(out: Path) -> tuple[Path, Path]:
    """Where the report on `out` goes: `build-report.json` and `.html` beside it.

    In a folder that holds the report on another file, or the page of another's job:
    `NAME.build-report.json` and `.html`.
    """
    plain = out.with_name("build-report.json")
    taken = plain.exists() and not _reports_on(plain, out.name)
    if taken or job_of(plain.with_suffix(".html")) not in (None, out.name):
        plain = out.with_name(f"{out.stem}.build-report.json")
    return plain, plain.with_suffix(".html")


def _reports_on(path: Path, name: str) -> bool:
    try:
        return bool(read_json(path).get("file") == name)
    except ToolError:  # somebody else's file of that name: it stays
        return False


def job_of(page: Path) -> str | None:
    """Name of the file whose job a page shows while it is at work; None where it is no such page."""
    try:
        with page.open(encoding="utf-8") as file:
            found = re.search(r'<meta name="celebahq-job" content="([^"]*)">', file.read(1000))
    except (OSError, UnicodeDecodeError):  # none, or somebody else's
        return None
    return unescape(found[1]) if found else None


def summarize(scores: Sequence[float]) -> dict[str, float]:
    """Least, 5 %, median, 95 % and greatest score; nothing for none."""
    if not scores:
        return {}
    values = np.quantile(np.asarray(scores, np.float64), [0, 0.05, 0.5, 0.95, 1])
    return dict(zip(["min", "p5", "median", "p95", "max"], map(float, values), strict=True))
