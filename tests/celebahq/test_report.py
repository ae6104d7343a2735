"""The report: numbers that add up, names that cannot break the page, one report per data set."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from celebahq.report import BuildReport, Ranked, Skip, report_paths, summarize
from celebahq.report_page import Tile, render_page, round_numbers, write_report


@pytest.fixture
def report(tmp_path):
    scores = np.linspace(1, -1, 100)
    return BuildReport(
        out=tmp_path / "faces.h5",
        parameters={"keep": 30, "jpeg_model": {"name": "jpeg", "sha256": "4f2e"}},
        counts={"faces": 100, "left_out_by_the_ranking": 70, "kept": 30},
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
    assert written["counts"] == {"faces": 100, "left_out_by_the_ranking": 70, "kept": 30}
    assert sum(image["kept"] for image in written["ranking"]) == 30
    assert written["skip_reasons"] == [
        {"stage": "find faces", "reason": "no face", "count": 2},
        {"stage": "read", "reason": "truncated", "count": 1},
    ]
    assert written["failures"] == 1
    assert written["scores"] == pytest.approx({"min": -1, "p5": -0.9, "median": 0, "p95": 0.9, "max": 1})


def test_the_bars_of_the_histogram_add_up(report):
    page = render_page(report, {})
    bars = re.findall(r'<rect class="(left|kept)" .*?height="([\d.]+)"', page)
    heights = {kind: sum(float(h) for k, h in bars if k == kind) for kind in ("left", "kept")}
    assert heights["kept"] / heights["left"] == pytest.approx(0.3, abs=0.01)  # heights are rounded
    assert "30 kept (blue), 70 left out (grey)" in page


def test_the_axes_say_where_the_bars_stand(report):
    page = render_page(report, {})
    ticks = re.findall(
        r'<text x="([-\d.]+)" y="([-\d.]+)" text-anchor="(middle|end)">([-\d.,]+)</text>', page
    )
    scores = {float(label): float(x) for x, _, anchor, label in ticks if anchor == "middle"}
    counts = {float(label): float(y) for _, y, anchor, label in ticks if anchor == "end"}
    assert scores == pytest.approx({-1: 0, -0.5: 200, 0: 400, 0.5: 600, 1: 800})  # of 800 units
    assert counts[0] - counts[2] == pytest.approx(2 / 3 * 200)  # 100 scores in 40 bars: 3 in the tallest
    assert ">quality score<" in page
    assert ">images<" in page


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 3, [0, 1, 2, 3]),
        (-2.9, -1.2, [-2.5, -2, -1.5]),
        (0, 1873, [0, 500, 1000, 1500]),
        (0.4, 0.6, [0.4, 0.45, 0.5, 0.55, 0.6]),
    ],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert round_numbers(low, high) == pytest.approx(expected)


def test_the_page_is_made_for_phones_and_for_the_dark(report):
    page = render_page(report, {})
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "@media (prefers-color-scheme: dark)" in page


def test_a_tile_names_its_photo(report):
    page = render_page(report, {"x": [Tile(np.zeros((9, 9, 3), np.uint8), "a & b.jpg", "rank 0")]})
    assert re.search(r"<figcaption>a &amp; b\.jpg<span>rank 0</span></figcaption>", page)


def test_names_from_photos_cannot_become_markup(report):
    page = render_page(report, {"<i>": [Tile(None, "<script>alert(1)</script>", "<u>")]})
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<u>" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("shape", [(40, 30, 3), (1, 900, 3), (900, 1, 3), (128, 128, 3)])
def test_pictures_of_any_shape_become_tiles(report, shape):
    page = render_page(report, {"x": [Tile(np.zeros(shape, np.uint8), "a.jpg", "tile")]})
    assert page.count("data:image/jpeg;base64,") == 1


def test_without_scores_there_is_no_histogram(report):
    from dataclasses import replace

    page = render_page(replace(report, ranking=[], skipped=[]), {})
    assert "<svg" not in page
    assert summarize([]) == {}


def test_people_read_words_where_programs_read_keys(report):
    page = render_page(report, {})
    assert "<th>left out by the ranking</th><td>70</td>" in page
    assert "<td>name jpeg, sha256 4f2e</td>" in page


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
