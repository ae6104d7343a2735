import csv
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from swd import compare


@pytest.fixture(scope="module")
def report(reals, fakes):
    sets = {
        "as they are": fakes.images,
        "brighter": np.clip(fakes.images.astype(int) + 40, 0, 255).astype(np.uint8),
    }
    return compare(reals.images, sets, device="cpu", metrics=["swd", "msssim"])


def test_it_prints_as_the_table(report):
    lines = str(report).splitlines()
    assert lines[0] == "real: real"
    assert sum(line.startswith("brighter") for line in lines) == 4  # distance, corrected, difference, MS-SSIM
    assert "Difference of the distance to that of as they are (*: beyond 2 standard errors)" in lines


def test_a_star_marks_what_is_beyond_two_standard_errors(report):
    difference = report.fakes[1].difference
    (line,) = (
        line
        for line in str(report).splitlines()
        if (line.startswith("brighter") and "+" in line) or "brighter  -" in line
    )
    cells = [estimate for estimate in (*difference.levels.values(), difference.average)]
    assert line.count("*") == sum(abs(cell.value) > 2 * cell.se for cell in cells)


def test_dict_is_json_with_differences(report):
    values = json.loads(json.dumps(report.to_dict()))
    first, second = values["sets"]
    assert values["baseline"] == "as they are"
    assert "swd_difference" not in first
    average = second["swd_difference"]["average"]
    assert average["value"] == pytest.approx(
        second["swd"]["average"]["value"] - first["swd"]["average"]["value"]
    )
    assert average["z"] == pytest.approx(average["value"] / average["se"])
    assert second["swd_corrected"]["average"]["value"] < second["swd"]["average"]["value"]


def test_json_has_no_number_where_none_is_known(reals):
    same = {"a": reals.images[:4], "b": reals.images[:4]}
    for sets, options in ((same, {"paired": True}), (same, {"images": 1})):
        values = compare(reals.images, sets, device="cpu", **options).to_dict()
        assert values["sets"][1]["swd_difference"]["average"]["z"] is None
        json.dumps(values, allow_nan=False)


def test_what_cannot_be_measured_or_drawn_is_said(reals, fakes, tmp_path):
    for metrics in (["swdd"], "swd"):
        with pytest.raises(ValueError, match=r"metrics: 's.*' is not one of swd, msssim, fid, is"):
            compare(reals.images, fakes.images, device="cpu", metrics=metrics)
    report = compare(reals.images, fakes.images, device="cpu", metrics=["msssim"])
    with pytest.raises(ValueError, match="add swd to metrics"):
        report.plot(tmp_path / "x.png")


def test_pandas_gets_a_line_per_figure(report, monkeypatch):
    given = {}

    class Pandas:
        @staticmethod
        def DataFrame(lines, columns):
            given.update(lines=lines, columns=columns)
            return "frame"

    monkeypatch.setitem(sys.modules, "pandas", Pandas)
    assert report.to_pandas() == "frame"
    from swd.report import as_csv

    rows = list(csv.reader(io.StringIO(as_csv(report))))
    assert rows[0] == given["columns"] == ["set", "metric", "level", "value", "se", "images"]
    assert len(rows) - 1 == len(given["lines"])
    assert {row[1] for row in rows[1:]} == {"swd", "swd_corrected", "swd_difference", "ms_ssim"}


def test_it_is_drawn(report, reals, fakes, tmp_path):
    report.plot(tmp_path / "curves.png")
    compare(reals.images, fakes.images, device="cpu").plot(str(tmp_path / "bars.png"))
    for name in ("curves", "bars"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width > 500
