"""How far a job is: while it is at work, after it was interrupted, when it is finished."""

import errno
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from celebahq.cli import main
from celebahq.errors import ToolError
from celebahq.importing import import_dataset
from celebahq.jobs.engine import InProcess
from celebahq.jobs.job import image_job
from celebahq.jobs.locks import is_held
from celebahq.jobs.merge import write_pyramid
from celebahq.jobs.options import JobOptions
from celebahq.jobs.progress import Stage
from celebahq.jobs.scratch import scratch_for, work_folder
from celebahq.jobs.task import Finished, Task
from celebahq.jobs.watch import STATUS, StageStatus, Watch, watching
from celebahq.options import ImportRequest
from celebahq.pyramid import PyramidReader, PyramidWriter, encode_image
from celebahq.report import report_paths
from celebahq.status import job_status, look_at
from celebahq.status_page import write_status_page

BROKEN = 3


@pytest.fixture
def pictures(rng, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(9):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{i}.png")
    (folder / f"{BROKEN}.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def job(pictures, tmp_path, monkeypatch):
    """An import in this process, with nine pictures, of which one is broken; gives its output."""
    monkeypatch.setattr("celebahq.importing.choose_engine", lambda workers, cluster: InProcess())
    out = tmp_path / "out" / "faces.h5"

    def run(progress=lambda *where: None, codec="gzip"):
        import_dataset(ImportRequest("folder", pictures, out, job=JobOptions(codec=codec)), progress)

    run.out = out
    return run


class Interrupt(Exception):
    pass


def interrupt_at(count):
    def progress(stage):
        if stage[:2] == ("import", count):
            raise Interrupt

    return progress


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_job_at_work_says_where_it_is_and_what_it_left_out(job):
    seen = {}

    def look(stage):
        if stage[:2] == ("import", 6):
            seen["status"], seen["page"] = job_status(job.out), report_paths(job.out)[1].read_text()
            seen["command"] = invoke("status", job.out)

    job(look)
    status = seen["status"]
    assert (status.state, status.stage, status.stages[0].total) == ("running", 0, 9)
    assert [stage.name for stage in status.stages] == ["import", "write"]
    assert sum(count for _, count in status.skip_reasons) == 1
    assert status.left_sec > 0
    assert status.scratch_bytes > 0
    assert status.free_bytes > 0
    assert 'http-equiv="refresh"' in seen["page"]
    assert seen["command"].exit_code == 0
    assert seen["command"].stdout.startswith("faces.h5: running, about ")
    assert "1 left out so far:" in seen["command"].stdout
    assert seen["command"].stdout.endswith(f"page: {report_paths(job.out)[1]}\n")


def test_an_interrupted_job_says_so_and_its_page_stops_reloading(job):
    with pytest.raises(Interrupt):
        job(interrupt_at(5))
    page = report_paths(job.out)[1]
    assert "Interrupted. The same command goes on" in page.read_text()
    assert 'http-equiv="refresh"' not in page.read_text()
    result = invoke("status", job.out)
    assert result.exit_code == 0
    assert result.stdout.startswith("faces.h5: interrupted, about ")
    assert "the same command goes on with it" in result.stdout
    facts = json.loads(invoke("status", job.out, "--json").stdout)
    assert facts["state"] == "interrupted"
    assert facts["skip_reasons"][0]["count"] == 1
    assert facts["page"] == str(page)


def test_a_killed_job_could_not_say_so_and_status_does(job):
    """Its page still claims that it is at work; the command draws it anew."""
    with pytest.raises(Interrupt):
        job(interrupt_at(5))
    page = report_paths(job.out)[1]
    page.write_text(page.read_text().replace("interrupted", "running"))
    assert invoke("status", job.out).exit_code == 0
    assert "<p>interrupted, about" in page.read_text()


def test_the_report_of_a_finished_job_takes_the_pages_place(job):
    with pytest.raises(Interrupt):
        job(interrupt_at(5))
    job()
    page = report_paths(job.out)[1].read_text()
    assert "celebahq-job" not in page
    assert "images in the source" in page
    result = invoke("status", job.out)
    assert result.stdout.splitlines()[:2] == ["faces.h5: finished", "        9 images in the source"]
    assert "1 left out:\n        1 " in result.stdout
    facts = json.loads(invoke("status", job.out, "--json").stdout)
    assert facts["counts"]["skipped_for_an_error"] == 1
    report = json.loads(report_paths(job.out)[0].read_text())
    reasons = [{key: each[key] for key in ("reason", "count")} for each in report["skip_reasons"]]
    assert facts["skip_reasons"] == reasons
    assert reasons[0]["reason"] in result.stdout
    assert "celebahq-job" not in report_paths(job.out)[1].read_text()


def test_a_job_that_ends_without_a_trace_leaves_no_page(pictures, tmp_path, job):
    for path in pictures.iterdir():
        path.write_bytes(b"no picture")
    Image.new("RGB", (32, 32)).save(pictures / "0.png")  # the first says the size
    seen = []

    def spoil(stage):
        if not stage.done:
            (pictures / "0.png").write_bytes(b"no picture")
            seen.append(report_paths(job.out)[1])

    with pytest.raises(ToolError, match="for none of 9 items was finished"):
        job(spoil)
    assert seen
    assert list(job.out.parent.iterdir()) == []


def test_where_nothing_has_begun_is_said(tmp_path):
    result = invoke("status", tmp_path / "x.h5")
    assert result.exit_code == 1
    assert "no job has begun to make it" in result.stderr


def test_a_lock_that_may_not_be_read_is_no_lock_that_is_held(tmp_path, monkeypatch):
    def refuse(path, *arguments, **named):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("celebahq.jobs.locks.Path.open", refuse)
    with pytest.raises(PermissionError):
        is_held(tmp_path / "lock")


def test_a_report_on_another_file_of_the_name_is_not_taken_for_this_ones(job):
    job()
    with PyramidWriter(job.out, 32, overwrite=True) as pyramid:
        pyramid.append(np.zeros((3, 3, 32, 32), np.uint8))
    facts = json.loads(invoke("status", job.out, "--json").stdout)
    assert (facts["state"], facts["counts"], facts["skip_reasons"]) == ("finished", {}, [])
    assert facts["page"] is None


def test_what_a_reconstruction_left_out_is_said(tmp_path):
    out = tmp_path / "hq.h5"
    with PyramidWriter(out, 32) as pyramid:
        pyramid.append(np.zeros((3, 3, 32, 32), np.uint8))
    failed = [{"idx": i, "orig_file": f"{i}.jpg", "reason": "another photo"} for i in range(2)]
    report = {"file": out.name, "written": 3, "failed": failed}
    out.with_name("hq.h5.report.json").write_text(json.dumps(report))
    lines = invoke("status", out).stdout.splitlines()
    assert lines[1:5] == [
        "        2 skipped for an error",
        "        3 written",
        "2 left out:",
        "        2 another photo",
    ]


def empty_folder(path):
    path.mkdir()


def photos(path):
    path.mkdir()
    Image.new("RGB", (32, 32)).save(path / "a.png")


def truncated(path):
    with PyramidWriter(path, 32) as pyramid:
        pyramid.append(np.zeros((3, 3, 32, 32), np.uint8))
    path.write_bytes(path.read_bytes()[:-100])


def no_manifest(path):
    path.mkdir()
    (path / "manifest.json").write_text('{"file": "faces.h5", "counts": {"kept": 3}}')


@pytest.mark.parametrize("as_json", [[], ["--json"]])
@pytest.mark.parametrize(
    "make",
    [
        empty_folder,
        photos,
        truncated,
        no_manifest,
        lambda path: path.write_text("hi"),
        lambda path: path.write_text("{}"),
        lambda path: path.symlink_to("/dev/null"),
    ],
)
@pytest.mark.parametrize("name", ["x.h5", "x.json", "x"])
def test_what_is_no_data_set_is_not_finished(make, name, as_json, tmp_path):
    make(tmp_path / name)
    result = invoke("status", tmp_path / name, *as_json)
    assert result.exit_code == 1, result.output
    assert not result.stdout
    assert len(result.stderr.splitlines()) == 1
    assert str(tmp_path / name) in result.stderr


def test_a_page_of_another_job_is_not_replaced(job):
    with pytest.raises(Interrupt):
        job(interrupt_at(5))
    other = job.out.with_name("other.h5")
    assert report_paths(other)[1].name == "other.build-report.html"
    assert report_paths(job.out)[1].name == "build-report.html"


@pytest.mark.parametrize("codec", ["gzip", "none", "lzf", "blosc2", "bitshuffle"])
def test_images_in_the_logs_can_be_looked_at(job, codec):
    images = {}

    def look(stage):
        if stage.name == "write" and not images:
            images.update({each.entry.item: each.blob(0) for each in look_at(job.out) if each.sizes})
            write_status_page(job.out)
            images["page"] = report_paths(job.out)[1].read_text()

    job(look, codec)
    from celebahq.pyramid import decode_level

    page = images.pop("page")
    assert page.count("data:image/jpeg;base64,") == 8
    assert "<figcaption>0.png<span>item 0</span>" in page
    with PyramidReader(job.out) as reader:
        for place, (_, blob) in enumerate(sorted(images.items())):
            np.testing.assert_array_equal(decode_level(blob, 3, 32, codec), reader.read([place])[0])


class Scored(Task):
    name = "build"

    def __len__(self):
        return 40

    def fingerprint(self):
        return {}

    def process(self, index):
        image = np.full((3, 32, 32), index, np.uint8)
        return Finished(encode_image(image), {"source_name": f"{index}.jpg"}, score=float(index))


def test_the_page_shows_the_best_and_the_worst(tmp_path):
    out = tmp_path / "x.h5"
    stages = [StageStatus("build", "faces", 1.0), StageStatus("write", "images", 1.0)]
    pages = []

    def show(stage):
        if stage.name == "write" and not pages:
            write_status_page(out)
            pages.append(report_paths(out)[1].read_text())

    with watching(out, stages, show, write_status_page) as progress, scratch_for(out) as scratch:
        job = image_job(Scored(), scratch, 32, options=JobOptions())
        job.run(InProcess(), progress)
        write_pyramid(job, out, resolution=32, progress=progress)
    best, worst = pages[0].split("The worst faces so far, the worst first")
    assert [f"<figcaption>{i}.jpg" in best for i in (39, 24, 23)] == [True, True, False]
    assert [f"<figcaption>{i}.jpg" in worst for i in (0, 15, 16)] == [True, True, False]
    assert worst.index("<figcaption>0.jpg") < worst.index("<figcaption>1.jpg")
    assert not report_paths(out)[1].exists()  # nobody has written a report in its place


def test_the_time_left_is_that_of_all_stages(tmp_path):
    search = StageStatus("find faces", "photos", 0.5, total=100, done=60)
    build, write = StageStatus("build", "faces", 2.0), StageStatus("write", "images", 0.1)
    out = tmp_path / "x.h5"
    (work_folder(out)).mkdir()
    watch = Watch(out, [search, build, write], lambda *where: None, lambda out: None)
    watch._current = 0
    watch.save()
    # 40 photos more; then, as long as nobody knows better, a face of each photo.
    assert job_status(out).left_sec == pytest.approx(40 * 0.5 + 100 * 2.0 + 100 * 0.1)
    watch._current, watch._stages[1] = 1, replace(build, total=30, done=10, skipped=1)
    watch.save()
    assert job_status(out).left_sec == pytest.approx(20 * 2.0 + 29 * 0.1)


def test_a_rate_is_that_of_this_run(tmp_path, monkeypatch):
    out, now = tmp_path / "x.h5", [100.0]
    work_folder(out).mkdir()
    monkeypatch.setattr("celebahq.jobs.watch.time.monotonic", lambda: now[0])
    watch = Watch(out, [StageStatus("build", "faces", 9.0)], lambda *where: None, lambda out: None)
    watch(Stage("build", 400, 1000))
    assert not job_status(out).stages[0].measured
    now[0] += 50
    watch(Stage("build", 500, 1000))
    assert job_status(out).stages[0].item_sec == 0.5
    assert "500 of 1,000 faces, 50.0 %, 2 faces/s" in job_status(out).line(0)


def test_a_page_is_drawn_as_often_as_it_costs_little(tmp_path, monkeypatch):
    out, now, drawn = tmp_path / "x.h5", [0.0], []
    work_folder(out).mkdir()
    monkeypatch.setattr("celebahq.jobs.watch.time.monotonic", lambda: now[0])

    def draw(out):
        drawn.append(now[0])
        now[0] += 1.0

    watch = Watch(out, [StageStatus("build", "faces", 9.0)], lambda *where: None, draw)
    for _ in range(120):
        watch(Stage("build", 1, 1000))
        now[0] += 1.0
    assert drawn == [0.0, 51.0, 102.0]  # of the time a fiftieth


def test_a_job_goes_on_when_its_page_cannot_be_written(job, monkeypatch, caplog):
    def refuse(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("celebahq.status_page.write_text", refuse)
    job()
    assert job.out.exists()
    assert "how far it is cannot be written down" in caplog.text


def test_a_status_file_is_young(job):
    with pytest.raises(Interrupt):
        job(interrupt_at(5))
    status = json.loads((work_folder(job.out) / STATUS).read_text())
    assert abs(status["updated"] - time.time()) < 60  # of a slow machine
