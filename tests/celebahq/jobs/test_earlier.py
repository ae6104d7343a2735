"""A job whose list of items changes does only the new ones, and ends in the bytes of a job begun anew."""

from dataclasses import replace

import numpy as np
import pytest

from celebahq.errors import ToolError
from celebahq.jobs import earlier
from celebahq.jobs.engine import InProcess
from celebahq.jobs.job import image_job
from celebahq.jobs.logs import ShardLog
from celebahq.jobs.merge import write_pyramid
from celebahq.jobs.options import JobOptions
from celebahq.jobs.scratch import scratch_for, work_folder
from celebahq.jobs.task import Finished, Skipped, Task
from celebahq.pyramid import encode_image

SIDE = 32


class Contents(Task):
    """Pictures that are known by a word; some words cannot be drawn."""

    name = "draw"
    listing = ("words",)

    def __init__(self, words, strength=1):
        self.words, self.strength, self.done = words, strength, []

    def __len__(self):
        return len(self.words)

    def fingerprint(self):
        return {"words": self.words, "strength": self.strength}

    def key(self, index):
        return self.words[index]

    def reuse(self, index, earlier):
        return replace(earlier, meta={**earlier.meta, "place": index})

    def process(self, index):
        word = self.words[index]
        self.done.append(word)
        if word.startswith("bad"):
            return Skipped("cannot be drawn")
        rng = np.random.default_rng(list(word.encode()))
        image = rng.integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
        meta = {"word": word, "place": index}
        return Finished(encode_image(image, "gzip"), meta, score=float(rng.random()))


class Interrupted(Exception):
    pass


def words(count, of="word"):
    return [f"{of}{i:03d}" for i in range(count)]


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
    run(Contents(listed), out, keep)
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
    first = Contents(words(30))
    interrupted(first, out, 20, keep)
    task = Contents(CHANGES[change])
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
        task = Contents(words(count))
        interrupted(task, out, 4)
        done += task.done
    task = Contents(words(41))
    run(task, out)
    assert sorted(done + task.done) == words(41)
    assert out.read_bytes() == scratch_build(words(41), tmp_path / "anew.h5")


@pytest.mark.parametrize("moment", ["moving", "writing"])
def test_a_kill_while_the_records_change_place_loses_nothing(tmp_path, monkeypatch, moment):
    out = tmp_path / "grown.h5"
    interrupted(Contents(words(30)), out, 20)
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
            run(Contents(words(33)), out)
    task = Contents(words(33))
    run(task, out)
    assert task.done == words(33)[20:]
    assert out.read_bytes() == scratch_build(words(33), tmp_path / "anew.h5")


def test_other_parameters_are_refused_still(tmp_path):
    out = tmp_path / "grown.h5"
    interrupted(Contents(words(5)), out, 2)
    with pytest.raises(ToolError, match=r"begun with other parameters.*strength was 1, now 2"):
        run(Contents(words(6), strength=2), out)
    task = Contents(words(6))
    run(task, out)
    assert task.done == words(6)[2:]


def test_items_that_nothing_tells_apart_are_done_again(tmp_path):
    out = tmp_path / "grown.h5"

    class Nameless(Contents):
        def key(self, index):
            return None

    interrupted(Nameless(words(5)), out, 3)
    task = Nameless(words(6))
    run(task, out)
    assert task.done == words(6)
