"""A finished job grows from its records and its file, and the bytes are those of a job begun anew."""

import os
import shutil

import pytest
from word_job import SIDE, Words, words

from celebahq.errors import FormatError, ToolError
from celebahq.jobs import records
from celebahq.jobs.engine import InProcess
from celebahq.jobs.job import image_job
from celebahq.jobs.merge import write_pyramid
from celebahq.jobs.options import JobOptions
from celebahq.jobs.records import FinishedJob, can_grow, keep_records, records_folder
from celebahq.jobs.scratch import scratch_for, work_folder


def make(task, out, keep=None):
    """What a build does, for one stage."""
    with scratch_for(out, completing=can_grow(out)) as scratch:
        finished = FinishedJob(out) if scratch.replaces(out) and can_grow(out) else None
        job = image_job(
            task,
            scratch,
            SIDE,
            keep=keep,
            options=JobOptions(),
            finished=finished.records() if finished else None,
        )
        job.run(InProcess())
        report = write_pyramid(job, out, resolution=SIDE, provenance={"strength": task.strength})
        keep_records(out, scratch, [])
        return report


def files(out):
    """All that a job has left, as bytes."""
    assert not work_folder(out).exists()
    kept = sorted(path for path in records_folder(out).rglob("*") if path.is_file())
    return [out.read_bytes(), *((path.name, path.read_bytes()) for path in kept)]


def anew(listed, folder, keep=None):
    out = folder / "anew" / "x.h5"
    shutil.rmtree(out.parent, ignore_errors=True)
    make(Words(listed), out, keep)
    return files(out)


CHANGES = {
    "more at the end": words(30) + words(5, "zebra"),
    "more in front and between": sorted(words(30) + words(9, "alpha") + ["word007b"]),
    "another order": words(30)[::-1],
    "fewer": words(30)[:13],
    "renamed": ["nick-" + word for word in words(30)],
    "bad ones too": sorted([*words(30), "bad one"]),
}


@pytest.mark.parametrize("keep", [None, 7])
@pytest.mark.parametrize("change", CHANGES)
def test_a_finished_job_does_what_is_new_and_ends_as_one_begun_anew(tmp_path, change, keep):
    out, listed = tmp_path / "x.h5", CHANGES[change]
    make(Words(words(30)), out, keep)
    task = Words(listed)
    make(task, out, keep)
    assert files(out) == anew(listed, tmp_path, keep)
    known = {task.content(i) for i in range(len(task))} & set(words(30))
    drawn_again = {word.removeprefix("nick-") for word in task.done} & known
    if keep is None or len(known) == 30:
        assert not drawn_again
    else:  # what was not among the best has no image in the file, and may be among them now
        assert len(drawn_again) <= keep


def test_it_grows_again_and_again(tmp_path):
    out, done = tmp_path / "x.h5", []
    for count in (5, 9, 20, 21):
        task = Words(words(count))
        make(task, out)
        done += task.done
    assert done == words(21)
    assert files(out) == anew(words(21), tmp_path)


def test_killed_at_any_step_it_goes_on(tmp_path, monkeypatch):
    listed = words(12)
    expected = anew(listed, tmp_path)
    replace_file, steps = os.replace, []
    monkeypatch.setattr(os, "replace", lambda *names: (steps.append(names), replace_file(*names)))
    make(Words(words(8)), tmp_path / "x.h5")
    first = len(steps)
    make(Words(listed), tmp_path / "x.h5")
    moments = len(steps) - first
    assert moments > 10
    for moment in range(moments):
        out = tmp_path / f"killed{moment}" / "x.h5"
        monkeypatch.undo()
        make(Words(words(8)), out)
        with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
            patch.setattr(os, "replace", _fails_at(moment))
            make(Words(listed), out)
        assert out.read_bytes()  # complete, the old or the new
        task = Words(listed)
        make(task, out)
        assert not set(task.done) & set(words(8)), f"step {moment}"
        assert files(out) == expected, f"step {moment}"


def _fails_at(moment):
    replace_file, done = os.replace, []

    def step(*names):
        if len(done) == moment:
            raise KeyboardInterrupt
        done.append(names)
        replace_file(*names)

    return step


def test_what_was_skipped_is_tried_again(tmp_path):
    out = tmp_path / "x.h5"
    make(Words(["bad one", *words(3)]), out)
    task = Words(["bad one", *words(4)])
    make(task, out)
    assert task.done == ["bad one", "word003"]


def test_a_damaged_file_gives_none_of_its_images(tmp_path):
    out = tmp_path / "x.h5"
    make(Words(words(20)), out)
    data = bytearray(out.read_bytes())
    data[len(data) // 2] ^= 1  # in an image, of which most of the file consists
    out.write_bytes(data)
    with pytest.raises(FormatError, match=r"x\.h5: not what was written: data"):
        make(Words(words(21)), out)
    assert out.read_bytes() == bytes(data)


def test_another_file_in_its_place_gives_none(tmp_path):
    out, other = tmp_path / "x.h5", tmp_path / "other.h5"
    make(Words(words(20)), out)
    make(Words(words(20, "else")), other)
    shutil.copy(other, out)
    with pytest.raises(FormatError, match=r"x\.h5: is not the file that x\.h5\.records describes"):
        make(Words(words(21)), out)


def test_other_parameters_and_nothing_new_are_refused(tmp_path):
    out = tmp_path / "x.h5"
    make(Words(words(3)), out)
    finished = FinishedJob(out)
    with pytest.raises(ToolError, match=r"made with other parameters \(strength was 1, now 2\)"):
        finished.require_same({"strength": 2})
    finished.require_same({"strength": 1, "codec": "gzip"})
    same = Words(words(3)).fingerprint()
    with pytest.raises(ToolError, match="nothing was added"):
        finished.require_news("images", same, retry=False)
    with pytest.raises(ToolError, match="nothing was left out"):
        finished.require_news("images", same, retry=True)
    finished.require_news("images", Words(words(4)).fingerprint(), retry=False)
    with pytest.raises(ToolError, match=r"1 of its images are of photos .* in there any more \(word002"):
        finished.require_all("source_name", {"word000", "word001"}, "there")


def test_records_hold_no_images(tmp_path):
    out = tmp_path / "x.h5"
    make(Words(words(20)), out)
    size = sum(path.stat().st_size for path in records_folder(out).rglob("*"))
    assert size < out.stat().st_size / 2
    assert [p.name for p in sorted(records_folder(out).rglob("*.*"))] == [
        "job.json",
        records.KEYS,
        "shard-00000.log",
    ]
