"""A job whose list of items changes does only the new ones, and ends in the bytes of a job begun anew."""

import pytest
from word_job import SIDE, Words, words

from celebahq.errors import ToolError
from celebahq.jobs import earlier
from celebahq.jobs.engine import InProcess
from celebahq.jobs.job import image_job
from celebahq.jobs.logs import ShardLog
from celebahq.jobs.merge import write_pyramid
from celebahq.jobs.options import JobOptions
from celebahq.jobs.scratch import scratch_for, work_folder


class Interrupted(Exception):
    pass


def run(task, out, keep=None, stop_after=None):
    """Do a job, or a part of it."""
    if stop_after is not None:
        process = task.process

        def limited(index):
            if len(task.done) == stop_after:
                raise KeyboardInterrupt
            return process(index)

        task.process = limited
    with scratch_for(out) as scratch:
        job = image_job(task, scratch, SIDE, keep=keep, options=JobOptions())
        job.run(InProcess())
        return write_pyramid(job, out, resolution=SIDE)


def interrupted(task, out, stop_after, keep=None):
    with pytest.raises(KeyboardInterrupt):
        run(task, out, keep, stop_after)


def scratch_build(listed, out, keep=None):
    run(Words(listed), out, keep)
    return out.read_bytes()


CHANGES = {
    "more at the end": words(30) + words(5, "zebra"),
    "more in front and between": sorted(words(30) + words(9, "alpha") + ["word007b"]),
    "fewer": words(30)[::2],
    "another order": words(30)[::-1],
    "a word twice": sorted([*words(30), "word003"]),
    "bad ones too": sorted([*words(30), "bad one"]),
}


@pytest.mark.parametrize("keep", [None, 7])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_list_does_what_is_new_and_ends_in_the_same_bytes(tmp_path, change, keep):
    expected = scratch_build(CHANGES[change], tmp_path / "anew.h5", keep)
    out = tmp_path / "grown.h5"
    first = Words(words(30))
    interrupted(first, out, 20, keep)
    task = Words(CHANGES[change])
    report = run(task, out, keep)
    assert out.read_bytes() == expected
    assert report.total == len(task)
    again = set(task.done) & set(first.done)
    if keep is None or set(first.words) <= set(task.words):
        assert not again
    else:  # what had fallen out of the best is drawn again where it is among the best now
        assert len(again) <= keep
    assert not work_folder(out).exists()


def test_lists_may_change_again_and_again(tmp_path):
    out, done = tmp_path / "grown.h5", []
    for count in (10, 20, 25, 40):
        task = Words(words(count))
        interrupted(task, out, 4)
        done += task.done
    task = Words(words(41))
    run(task, out)
    assert sorted(done + task.done) == words(41)
    assert out.read_bytes() == scratch_build(words(41), tmp_path / "anew.h5")


@pytest.mark.parametrize("moment", ["moving", "writing"])
def test_a_kill_while_the_records_change_place_loses_nothing(tmp_path, monkeypatch, moment):
    out = tmp_path / "grown.h5"
    interrupted(Words(words(30)), out, 20)
    with monkeypatch.context() as patch:
        calls = []

        def fails_at_the_fifth(function):
            def call(*arguments, **options):
                calls.append(None)
                if len(calls) == 5:
                    raise Interrupted
                return function(*arguments, **options)

            return call

        if moment == "moving":
            patch.setattr(earlier.os, "replace", fails_at_the_fifth(earlier.os.replace))
        else:
            patch.setattr(ShardLog, "append", fails_at_the_fifth(ShardLog.append))
        with pytest.raises(Interrupted):
            run(Words(words(33)), out)
    task = Words(words(33))
    run(task, out)
    assert task.done == words(33)[20:]
    assert out.read_bytes() == scratch_build(words(33), tmp_path / "anew.h5")


def test_other_parameters_are_refused_still(tmp_path):
    out = tmp_path / "grown.h5"
    interrupted(Words(words(5)), out, 2)
    with pytest.raises(ToolError, match=r"begun with other parameters.*strength was 1, now 2"):
        run(Words(words(6), strength=2), out)
    task = Words(words(6))
    run(task, out)
    assert task.done == words(6)[2:]


def test_items_that_nothing_tells_apart_are_done_again(tmp_path):
    out = tmp_path / "grown.h5"

    class Nameless(Words):
        def key(self, index):
            return None

        content = key

    interrupted(Nameless(words(5)), out, 3)
    task = Nameless(words(6))
    run(task, out)
    assert task.done == words(6)
