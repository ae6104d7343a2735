"""What a comparison found, as rows of results, as a table, as JSON, as CSV."""

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from celebahq.errors import one_line
from swd.diversity import Similarity
from swd.fidelity import Fidelity
from swd.method.measured import Estimate
from swd.method.protocol import Protocol
from swd.pipeline.distance import Distance

Role = Literal["fake", "fresh patches", "disjoint", "reals"]

AVERAGE = "average"


@dataclass(frozen=True)
class Result:
    """What was found for one set of images; None for a metric that was not asked for, or has no meaning."""

    name: str
    images: int
    role: Role = "fake"
    """A set of fakes; the reals' distance to themselves, which `pipeline.reference` explains; the reals."""
    distance: Distance | None = None
    """To the reals."""
    corrected: Distance | None = None
    """Without what finite samples amount to."""
    difference: Distance | None = None
    """The distance less that of the report's baseline."""
    similarity: Similarity | None = None
    fidelity: Fidelity | None = None

    def figures(self) -> Iterator[tuple[str, str, float, float | None]]:
        """Every figure as (metric, level, value, standard error)."""
        for metric, distance in self.distances():
            for resolution, estimate in distance.levels.items():
                yield metric, str(resolution), estimate.value, estimate.se
            yield metric, AVERAGE, distance.average.value, distance.average.se
        if self.similarity:
            yield "ms_ssim", "", self.similarity.value, self.similarity.se
        if self.fidelity and self.fidelity.fid is not None:
            yield "fid", "", self.fidelity.fid, None
        if self.fidelity and self.fidelity.inception_score is not None:
            yield "inception_score", "", self.fidelity.inception_score, self.fidelity.inception_score_std

    def distances(self) -> list[tuple[str, Distance]]:
        """Those that there are, by the names of JSON and CSV."""
        named = {"swd": self.distance, "swd_corrected": self.corrected, "swd_difference": self.difference}
        return [(name, distance) for name, distance in named.items() if distance is not None]


@dataclass(frozen=True)
class Report:
    """What a comparison found: rows of results, the fakes' first, in the order they were given.

    It prints as the table of `swd compare`.
    """

    real: str
    protocol: Protocol
    rows: list[Result]
    baseline: str | None = None
    """The set of fakes that differences are to; None for a single set."""

    def __str__(self) -> str:
        return as_table(self)

    @property
    def fakes(self) -> list[Result]:
        """The rows of sets of fakes."""
        return [row for row in self.rows if row.role == "fake"]

    def row(self, role: Role) -> Result | None:
        """The row of the reals that has this role, if there is one."""
        return next((row for row in self.rows if row.role == role), None)

    def to_dict(self) -> dict[str, Any]:
        """As `swd track --json` prints it."""
        return as_json(self)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a line per figure, as `swd compare --csv` prints it.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(lines(self), columns=COLUMNS)

    def plot(self, path: Path | str) -> None:
        """Draw the distances: bars for one set of fakes, curves for several.

        Args:
            path: A file whose ending says the format, PNG or what else matplotlib writes.

        Raises:
            ValueError: The metric `swd` was not asked for.
        """
        from swd.plot import plot_levels, plot_track

        if not any(row.distance for row in self.rows):
            raise ValueError("the report has no distances to draw: add swd to metrics")
        (plot_track if len(self.fakes) > 1 else plot_levels)(self, Path(path))


COLUMNS = ["set", "metric", "level", "value", "se", "images"]


def lines(report: Report) -> list[list[Any]]:
    """A line per figure; see `COLUMNS`."""
    return [[row.name, *figure, row.images] for row in report.rows for figure in row.figures()]


def as_csv(report: Report) -> str:
    """For spreadsheets: a line per figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *lines(report)])
    return text.getvalue()


def as_table(report: Report) -> str:
    """For people: a line per set, a column per level."""
    protocol = report.protocol
    text = [
        f"real: {report.real}",
        f"{protocol.images:,} images of {protocol.resolution} px per set, {protocol.patches} patches "
        f"per image, {protocol.repeats} x {protocol.directions_per_repeat} directions, seed {protocol.seed}",
    ]
    if any(row.distance for row in report.rows):
        text += ["", "Sliced Wasserstein distance x 1000, lower is better (± standard error)"]
        text += _levels(report, "distance", _with_error)
    if any(row.corrected for row in report.rows):
        text += ["", "The same without what so few images amount to (0: hidden by it, with an upper bound)"]
        text += _levels(report, "corrected", _or_bound)
    if any(row.difference for row in report.rows):
        text += [
            "",
            f"Difference of the distance to that of {report.baseline} (*: beyond 2 standard errors)",
        ]
        text += _levels(report, "difference", _with_star)
    similarities = [(row.name, row.similarity) for row in report.rows if row.similarity]
    if similarities:
        text += ["", f"MS-SSIM between {similarities[0][1].pairs:,} pairs of a set, lower is more varied"]
        error = {label: "" if s.se is None else f" ± {s.se:.4f}" for label, s in similarities}
        text += _aligned([[label, f"{s.value:.4f}{error[label]}"] for label, s in similarities])
    for row in report.rows:
        text += _fidelity_lines(row)
    return "\n".join(map(one_line, text))


def _levels(report: Report, kind: str, cell: Any) -> list[str]:
    """One kind of distance of all rows that have it."""
    found = [(row.name, getattr(row, kind)) for row in report.rows]
    header = ["", *(f"{resolution} px" for resolution in report.protocol.resolutions), AVERAGE]
    cells = [[name, *map(cell, d.levels.values()), cell(d.average)] for name, d in found if d]
    return _aligned([header, *cells])


def _with_error(estimate: Estimate) -> str:
    return f"{estimate.value:.2f}" + ("" if estimate.se is None else f" ± {estimate.se:.2f}")


def _or_bound(estimate: Estimate) -> str:
    bound = estimate.upper_bound
    return _with_error(estimate) if bound is None else f"0 (< {bound:.2f})"


def _with_star(estimate: Estimate) -> str:
    return f"{estimate.value:+.2f}" + (
        "" if estimate.se is None else f" ± {estimate.se:.2f}{'*' if is_clear(estimate) else ' '}"
    )


def z_score(estimate: Estimate) -> float | None:
    """A difference in its standard errors; None where that is unknown, or nothing differs at all."""
    return estimate.value / estimate.se if estimate.se else None


def is_clear(estimate: Estimate) -> bool:
    """Whether a difference is beyond two standard errors."""
    return estimate.se is not None and abs(estimate.value) > 2 * estimate.se


def _fidelity_lines(row: Result) -> list[str]:
    found = row.fidelity
    if found is None:
        return []
    text = [""]
    if found.fid is not None:
        text.append(f"FID {row.name}: {found.fid:.4g}")
    if found.inception_score is not None:
        text.append(
            f"inception score {row.name}: {found.inception_score:.4g} ± {found.inception_score_std:.2g}"
        )
    return text


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns of equal width, the first flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    ]


def as_json(report: Report) -> dict[str, Any]:
    """For programs: figures of the fakes under `sets`, each by its metric's name."""
    values: dict[str, Any] = {"real": report.real, **asdict(report.protocol), "baseline": report.baseline}
    values["sets"] = [{"fake": row.name, **_result_json(row)} for row in report.fakes]
    fresh, disjoint, reals = (report.row(role) for role in ("fresh patches", "disjoint", "reals"))
    if fresh is not None:
        values["reference"] = {
            "fresh_patches": _result_json(fresh)["swd"],
            "disjoint": _result_json(disjoint)["swd"] if disjoint else None,
            "disjoint_corrected": _result_json(disjoint).get("swd_corrected") if disjoint else None,
        }
    if reals is not None:
        values["real_ms_ssim"] = _result_json(reals)["ms_ssim"]
    return values


def as_single_json(report: Report) -> dict[str, Any]:
    """`as_json` of a report on one set of fakes, its figures beside the rest."""
    values = as_json(report)
    if len(values["sets"]) > 1:
        return values
    del values["baseline"]
    only: dict[str, Any] = values.pop("sets")[0]
    return values | only


def _result_json(row: Result) -> dict[str, Any]:
    values: dict[str, Any] = {name: _distance_json(distance) for name, distance in row.distances()}
    if row.similarity:
        values["ms_ssim"] = asdict(row.similarity)
    if row.fidelity:
        values |= {key: value for key, value in asdict(row.fidelity).items() if value is not None}
    if row.corrected:
        _add(values["swd_corrected"], row.corrected, "upper_bound", lambda estimate: estimate.upper_bound)
    if row.difference:
        _add(values["swd_difference"], row.difference, "z", z_score)
    return values


def _add(values: dict[str, Any], distance: Distance, name: str, of: Any) -> None:
    """Another number of each estimate."""
    for resolution, estimate in distance.levels.items():
        values["levels"][str(resolution)][name] = of(estimate)
    values[AVERAGE][name] = of(distance.average)


def _distance_json(distance: Distance) -> dict[str, Any]:
    return {
        "images": distance.images,
        "levels": {str(resolution): _estimate_json(e) for resolution, e in distance.levels.items()},
        AVERAGE: _estimate_json(distance.average),
    }


def _estimate_json(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "se": estimate.se} | asdict(estimate)
