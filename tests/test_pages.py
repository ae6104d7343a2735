"""The pages as a browser shows them: headless Chromium, Debian's package `chromium`."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import start, tiny_config, write_pyramid

from celebahq.jobs.engine import InProcess
from celebahq.jobs.job import image_job
from celebahq.jobs.options import JobOptions
from celebahq.jobs.scratch import scratch_for
from celebahq.jobs.task import Finished, Skipped, Task
from celebahq.jobs.watch import StageStatus, watching
from celebahq.pyramid import encode_image
from celebahq.report import BuildReport, Ranked, Skip
from celebahq.report_page import Tile, render_page
from celebahq.status_page import write_status_page
from trainer.use.run_page import PAGE

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's package chromium is not installed"),
    pytest.mark.slow,  # a browser's start takes seconds
]
PHONE, DESKTOP = 390, 1280
LONG = "a_photo_with_a_very_long_name_without_any_place_to_break_it_" * 2 + ".jpg"
PROBE = """
const found = [...document.querySelectorAll("iframe")].map(frame => {
  const page = frame.contentDocument, root = page.documentElement;
  return {
    width: root.clientWidth,
    content: root.scrollWidth,
    pictures: [...page.images].map(picture => picture.naturalWidth),
    background: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
    text: frame.contentWindow.getComputedStyle(page.body).color,
    late: (page.getElementById("late") || {}).hidden,
  };
});
document.body.innerHTML = "<pre>" + JSON.stringify(found) + "</pre>";
"""


class Faces(Task):
    """Thirty images, some with long names, and one that cannot be done."""

    name = "build"

    def __len__(self):
        return 30

    def fingerprint(self):
        return {}

    def process(self, index):
        if index == 3:
            return Skipped("cut short")
        image = np.full((3, 128, 128), 8 * index, np.uint8)
        return Finished(encode_image(image), {"source_name": f"{index}_{LONG}"}, score=float(index))


def write_status(folder: Path) -> Path:
    """The page of a job that was looked at in its midst."""
    out, page = folder / "faces.h5", folder / "build-report.html"
    kept = folder / "running.html"

    def look(stage):
        if stage.done == 29:
            write_status_page(out)
            kept.write_bytes(page.read_bytes())

    stages = [StageStatus("build", "faces", 1.0), StageStatus("write", "images", 0.1)]
    with watching(out, stages, look, write_status_page) as progress, scratch_for(out) as scratch:
        image_job(Faces(), scratch, 128, options=JobOptions()).run(InProcess(), progress)
    return kept


def write_report(folder: Path) -> Path:
    ranking = [Ranked(f"{i}_{LONG}", float(score), i < 60) for i, score in enumerate(np.linspace(0, -3, 90))]
    report = BuildReport(
        out=folder / "faces.h5",
        parameters={"sr_model": {"name": "sr4x", "sha256": "0123456789abcdef" * 4}, "faces": "f" * 64},
        counts={"photos": 100, "kept": 60},
        notices=[f"1 image shows a face again: {LONG}"],
        ranking=ranking,
        skipped=[Skip(LONG, "read", "cut short", failure=True)],
        elapsed_sec=12.3,
        images_per_sec=8.1,
    )
    tile = Tile(np.full((90, 120, 3), 99, np.uint8), LONG, "rank 0, score 1.234")
    path = folder / "report.html"
    path.write_text(render_page(report, {"Kept": [tile] * 20, "Left out": [Tile(None, LONG, "no face")]}))
    return path


def write_run(folder: Path) -> Path:
    snapshot = {"image_ticks": 1, "network_ticks": 2, "metric_images": 16}
    config = tiny_config(train={"total_kimg": 0.2}, snapshot=snapshot)
    return start(config, write_pyramid(folder / "data.h5"), folder / "runs") / PAGE


PAGES = {"status": write_status, "report": write_report, "run": write_run}


@pytest.fixture(scope="module", params=PAGES)
def page(request, tmp_path_factory):
    return PAGES[request.param](tmp_path_factory.mktemp(request.param))


def look(page: Path, profile: Path, *flags: str) -> list[dict]:
    """What the browser makes of a page on a phone and on a desk: in frames of these widths."""
    frames = "".join(
        f'<iframe width="{width}" height="900" srcdoc="{html.escape(page.read_text())}"></iframe>'
        for width in (PHONE, DESKTOP)
    )
    harness = page.with_name("harness.html")  # beside the page's pictures
    harness.write_text(
        f"<!doctype html><style>iframe {{ border: 0 }}</style><body>{frames}<script>\n"
        f'window.addEventListener("load", () => {{ {PROBE} }});\n</script>'
    )
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", *flags]
    command += [f"--user-data-dir={profile}", "--window-size=1400,1000", "--dump-dom", harness.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r"<pre>(\[.*\])</pre>", result.stdout)
    assert found, result.stderr
    return json.loads(html.unescape(found[1]))


def brightness(colour: str) -> float:
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_nothing_sticks_out_on_a_phone_or_on_a_desk(page, tmp_path):
    for seen, width in zip(look(page, tmp_path), (PHONE, DESKTOP), strict=True):
        assert width - 20 <= seen["width"] <= width  # a scroll bar may take some
        assert seen["content"] <= seen["width"]
        assert seen["pictures"]
        assert all(seen["pictures"])  # a picture that is not there has no width
        assert brightness(seen["background"]) > 200 > brightness(seen["text"])


def test_the_page_is_dark_where_that_is_asked_for(page, tmp_path):
    for seen in look(page, tmp_path, "--force-dark-mode"):
        assert brightness(seen["background"]) < 60 < 150 < brightness(seen["text"])


def test_a_page_without_news_says_that_its_job_may_have_ended(tmp_path):
    page = write_status(tmp_path)
    assert [seen["late"] for seen in look(page, tmp_path / "now")] == [True, True]
    old = re.sub(r"Date\.now\(\) / 1000 - \d+", "Date.now() / 1000 - 1000000000", page.read_text())
    page.write_text(old)
    assert [seen["late"] for seen in look(page, tmp_path / "later")] == [False, False]
