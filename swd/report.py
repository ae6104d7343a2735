"""A report as a table, as JSON, as CSV."""

import csv
import io
from dataclasses import asdict
from typing import Any

from celebahq.console import one_line
from swd.comparison import Report
from swd.diversity import Similarity
from swd.pipeline.distance import Distance, Estimate


def distance_rows(report: Report) -> list[tuple[str, Distance]]:
    """Every sliced Wasserstein distance with its label: the fakes', then the reals' own."""
    distances = report.distances
    if distances is None:
        return []
    rows = list(zip(report.fakes, distances.fakes, strict=True))
    rows.append(("reals, fresh patches", distances.fresh_patches))
    if distances.disjoint is not None:
        rows.append((f"reals, disjoint {distances.disjoint.images:,}", distances.disjoint))
    return rows


def similarity_rows(report: Report) -> list[tuple[str, Similarity]]:
    """Every MS-SSIM with its label: the fakes', then the reals'."""
    similarities = report.similarities
    if similarities is None:
        return []
    rows = list(zip(report.fakes, similarities.fakes, strict=True))
    return rows if similarities.reals is None else [*rows, ("reals", similarities.reals)]


def as_table(report: Report) -> str:
    """For people: a line per set, a column per level."""
    protocol = report.protocol
    lines = [
        f"real: {report.real}",
        f"{protocol.images:,} images of {protocol.resolution} px per set, {protocol.patches} patches "
        f"per image, {protocol.repeats} x {protocol.directions_per_repeat} directions, seed {protocol.seed}",
    ]
    rows = distance_rows(report)
    if rows:
        header = ["", *(f"{resolution} px" for resolution in protocol.resolutions), "average"]
        cells = [
            [label, *map(_with_error, distance.levels.values()), _with_error(distance.average)]
            for label, distance in rows
        ]
        lines += ["", "Sliced Wasserstein distance x 1000, lower is better (± standard error)"]
        lines += _aligned([header, *cells])
    similarities = similarity_rows(report)
    if similarities:
        lines += ["", f"MS-SSIM between {similarities[0][1].pairs:,} pairs of a set, lower is more varied"]
        error = {label: "" if s.se is None else f" ± {s.se:.4f}" for label, s in similarities}
        lines += _aligned([[label, f"{s.value:.4f}{error[label]}"] for label, s in similarities])
    for name, fidelity in zip(report.fakes, report.fidelities or [], strict=False):
        lines.append("")
        if fidelity.fid is not None:
            lines.append(f"FID {name}: {fidelity.fid:.4g}")
        if fidelity.inception_score is not None:
            spread = f"{fidelity.inception_score_std:.2g}"
            lines.append(f"inception score {name}: {fidelity.inception_score:.4g} ± {spread}")
    return "\n".join(map(one_line, lines))


def _with_error(estimate: Estimate) -> str:
    return f"{estimate.value:.2f}" + ("" if estimate.se is None else f" ± {estimate.se:.2f}")


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns of equal width, the first flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    ]


def as_json(report: Report) -> dict[str, Any]:
    """For programs: figures of the fakes under `sets`, each by its metric's name."""
    reference = report.distances
    values: dict[str, Any] = {"real": report.real, **asdict(report.protocol)}
    values["sets"] = [
        {"fake": name, **_set_json(report, position)} for position, name in enumerate(report.fakes)
    ]
    if reference is not None:
        values["reference"] = {
            "fresh_patches": _distance_json(reference.fresh_patches),
            "disjoint": None if reference.disjoint is None else _distance_json(reference.disjoint),
        }
    if report.similarities is not None and report.similarities.reals is not None:
        values["real_ms_ssim"] = asdict(report.similarities.reals)
    return values


def as_single_json(report: Report) -> dict[str, Any]:
    """`as_json` of a report on one set of fakes, its figures beside the rest."""
    values = as_json(report)
    only: dict[str, Any] = values.pop("sets")[0]
    return values | only


def _set_json(report: Report, position: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if report.distances is not None:
        values["swd"] = _distance_json(report.distances.fakes[position])
    if report.similarities is not None:
        values["ms_ssim"] = asdict(report.similarities.fakes[position])
    if report.fidelities:
        found = asdict(report.fidelities[position])
        values |= {key: value for key, value in found.items() if value is not None}
    return values


def _distance_json(distance: Distance) -> dict[str, Any]:
    return {
        "images": distance.images,
        "levels": {str(resolution): _estimate_json(e) for resolution, e in distance.levels.items()},
        "average": _estimate_json(distance.average),
    }


def _estimate_json(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "se": estimate.se} | asdict(estimate)


def as_csv(report: Report) -> str:
    """For spreadsheets: a line per figure, with columns set, metric, level, value, se."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "metric", "level", "value", "se"])
    for label, distance in distance_rows(report):
        for resolution, estimate in distance.levels.items():
            writer.writerow([label, "swd", resolution, estimate.value, estimate.se])
        writer.writerow([label, "swd", "average", distance.average.value, distance.average.se])
    for label, similarity in similarity_rows(report):
        writer.writerow([label, "ms_ssim", "", similarity.value, similarity.se])
    for name, fidelity in zip(report.fakes, report.fidelities or [], strict=False):
        for metric, value, error in (
            ("fid", fidelity.fid, None),
            ("inception_score", fidelity.inception_score, fidelity.inception_score_std),
        ):
            if value is not None:
                writer.writerow([name, metric, "", value, error])
    return text.getvalue()
