"""The report: numbers that add up, names that cannot break the page, one report per data set."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from celebahq.report import (
    BuildReport,
    Ranked,
    Skip,
    Tile,
    render_page,
    report_paths,
    summarize,
    write_report,
)


@pytest.fixture
def report(tmp_path):
    scores = np.linspace(1, -1, 100)
    return BuildReport(
        out=tmp_path / "faces.h5",
        parameters={"keep": 30},
        counts={"faces": 100, "kept": 30},
        notices=["--sr-model none: <b>Lanczos</b>"],
        ranking=[Ranked(f"{i}.jpg", float(score), i < 30) for i, score in enumerate(scores)],
        skipped=[
            Skip("a.jpg", "read", "truncated", failure=True),
            Skip("<script>.png", "find faces", "no face"),
            Skip("b.png", "find faces", "no face"),
        ],
        elapsed_sec=12.34,
        images_per_sec=8.1,
    )


def test_the_json_accounts_for_every_image(report):
    write_report(report, {})
    written = json.loads((report.out.parent / "build-report.json").read_text())
    assert written["counts"] == {"faces": 100, "kept": 30}
    assert sum(image["kept"] for image in written["ranking"]) == 30
    assert written["skip_reasons"] == {"read: truncated": 1, "find faces: no face": 2}
    assert written["failures"] == 1
    assert written["scores"] == pytest.approx({"min": -1, "p5": -0.9, "median": 0, "p95": 0.9, "max": 1})


def test_the_bars_of_the_histogram_add_up(report):
    page = render_page(report, {})
    bars = re.findall(r'<rect class=(left|kept) .*?height="([\d.]+)"', page)
    heights = {kind: sum(float(h) for k, h in bars if k == kind) for kind in ("left", "kept")}
    assert heights["kept"] / heights["left"] == pytest.approx(0.3, abs=0.01)  # heights are rounded
    assert "30 kept (dark), 70 left out" in page


def test_names_from_photos_cannot_become_markup(report):
    page = render_page(report, {"<i>": [Tile(None, "<script>alert(1)</script>")]})
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("shape", [(40, 30, 3), (1, 900, 3), (900, 1, 3), (128, 128, 3)])
def test_pictures_of_any_shape_become_tiles(report, shape):
    page = render_page(report, {"x": [Tile(np.zeros(shape, np.uint8), "tile")]})
    assert page.count("data:image/jpeg;base64,") == 1


def test_without_scores_there_is_no_histogram(report):
    from dataclasses import replace

    page = render_page(replace(report, ranking=[], skipped=[]), {})
    assert "<svg" not in page
    assert summarize([]) == {}


def test_a_report_on_another_file_is_not_replaced(tmp_path):
    other = tmp_path / "other.h5"
    assert report_paths(other)[0] == tmp_path / "build-report.json"
    (tmp_path / "build-report.json").write_text('{"file": "faces.h5"}')
    assert report_paths(other) == (
        tmp_path / "other.build-report.json",
        Path(tmp_path / "other.build-report.html"),
    )
    assert report_paths(tmp_path / "faces.h5")[1] == tmp_path / "build-report.html"
    for foreign in ("[]", "not JSON"):
        (tmp_path / "build-report.json").write_text(foreign)
        assert report_paths(other)[0] == tmp_path / "other.build-report.json"
