"""Shard logs: what is recorded survives, what is torn is cut off, what cannot win loses its blobs."""

import errno
import os

import numpy as np
import pytest

from celebahq.errors import FormatError, ToolError
from celebahq.jobs.log_format import encode_record, read_headers
from celebahq.jobs.logs import (
    LogPlace,
    ShardLog,
    compact_shard,
    read_complete,
    read_entries,
    read_growing,
    read_records,
    reopen_shard,
)
from celebahq.jobs.scratch import owning_folder
from celebahq.jobs.shards import Assignment, Rank, Record, Shard, plan_shards
from celebahq.jobs.task import Finished, Skipped, Task
from celebahq.jobs.work import Work, finish_shard


class Numbers(Task):
    name = "numbers"

    def __init__(self, total=6):
        self.total = total
        self.done = []

    def __len__(self):
        return self.total

    def fingerprint(self):
        return {}

    def process(self, index):
        self.done.append(index)
        if index == 1:
            raise ToolError("1.jpg: truncated")
        if index == 2:
            raise ZeroDivisionError("a bug")
        if index == 3:
            return Finished([b""], score=float("nan"))
        meta = {"name": f"n{index}", "landmarks": np.arange(4.0).reshape(2, 2) / 3, "side": np.float32(0.1)}
        blobs = [bytes([index]) * 100, b"", b"low"]
        return Finished(blobs, meta, label=np.array([0.1, 1], np.float32), score=index / 3)


SHARD = Shard(7, 0, 6)


@pytest.fixture
def place(tmp_path):
    return LogPlace(tmp_path, "a job", SHARD)


def finish(place, task=None, floor=None):
    """Complete a shard's log; gives what was recorded now."""
    with owning_folder(place.folder) as scratch:
        work = Work(task or Numbers(), scratch, place.job)
        return list(finish_shard(work, Assignment(place.shard, floor, last_try=True)))


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith("lock"))


def test_shards_cover_all_items_once():
    shards = plan_shards(10, 4)
    assert [(s.number, s.start, s.stop) for s in shards] == [(0, 0, 4), (1, 4, 8), (2, 8, 10)]
    assert plan_shards(0, 4) == []


def test_a_record_comes_back_as_it_was(tmp_path, place):
    recorded = finish(place)
    assert names(tmp_path) == ["shard-00007.log"]
    records = list(read_records(place))
    assert [record.entry for record in records] == recorded == read_complete(place)
    assert recorded == read_entries(place.complete)
    record = records[4]
    assert record.blobs == [bytes([4]) * 100, b"", b"low"]
    assert record.entry == (4, 4 / 3, None, 103)
    assert record.meta["name"] == "n4"
    np.testing.assert_array_equal(record.meta["landmarks"], np.arange(4.0).reshape(2, 2) / 3)
    assert np.float32(record.meta["side"]) == np.float32(0.1)
    assert np.array_equal(np.array(record.label, np.float32), np.array([0.1, 1], np.float32))


def test_whatever_goes_wrong_with_an_item_is_its_reason(place):
    assert {entry.item: entry.reason for entry in finish(place) if entry.reason} == {
        1: "1.jpg: truncated",
        2: "unexpected ZeroDivisionError: a bug",
        3: "its score is nan",
    }


@pytest.fixture
def whole(tmp_path):
    """The bytes of the complete log."""
    (tmp_path / "whole").mkdir()
    place = LogPlace(tmp_path / "whole", "a job", SHARD)
    finish(place)
    return place.complete.read_bytes()


@pytest.mark.parametrize("kept_part", [0.0, 0.05, 0.1, 0.5, 0.9, 0.97, 1.0])
def test_a_torn_record_is_cut_off_and_done_again(place, whole, kept_part):
    place.growing.write_bytes(whole[: int(len(whole) * kept_part)])
    before = [entry.item for entry in read_growing(place)]
    task = Numbers()
    finish(place, task)
    assert task.done == [item for item in range(6) if item not in before]
    assert place.complete.read_bytes() == whole


def test_zeros_behind_a_tear_are_no_record(place, whole):
    """As where a file grew and its last blocks were not written: from every byte on."""
    counts = []
    for kept in range(len(whole) // 2):
        place.growing.write_bytes(whole[:kept] + bytes(len(whole) - kept))
        counts.append(len(read_growing(place)))
    assert counts == sorted(counts)
    assert counts[-1] >= 2


def test_a_growing_log_of_another_shard_or_job_is_begun_anew(place, whole):
    for other in (place._replace(job="another"), place._replace(shard=Shard(8, 6, 12))):
        other.growing.write_bytes(whole)
        assert read_growing(other) == []
        with ShardLog(other) as log:
            assert log.missing() == list(other.shard.items)


def test_a_growing_log_counts_an_item_once(place, whole):
    place.growing.write_bytes(whole)
    with ShardLog(place) as log:
        repeated = encode_record(Record(read_entries(place.growing)[2], {}, None, []))
        log._write(repeated)
    assert [entry.item for entry in read_growing(place)] == [0, 1, 2, 3, 4, 5]
    finish(place)
    assert place.complete.read_bytes() == whole


def test_a_complete_shard_is_left_alone(place):
    finish(place)
    task = Numbers()
    finish(place, task)
    assert task.done == []


def spans(place):
    """Where each opening, record or seal of a log lies."""
    with place.complete.open("rb") as file:
        ends = [header.end for header in read_headers(file)]
    return list(zip([0, *ends], ends, strict=False))


def mutations(place, whole):
    """Every way in which a complete log can be another one that is intact piece by piece."""
    pieces = [whole[a:b] for a, b in spans(place)]
    yield "emptied", b""
    yield "a flipped bit in a blob", whole[: len(pieces[0]) + 250] + bytes([whole[250] ^ 1]) + whole[251:]
    yield "cut in the middle", whole[: len(whole) // 2]
    yield "grown", whole + b"CHQR"
    for i in range(len(pieces)):
        yield f"cut after piece {i}", b"".join(pieces[:i])
        yield f"without piece {i}", b"".join(pieces[:i] + pieces[i + 1 :])
        yield f"piece {i} twice", b"".join(pieces[: i + 1] + pieces[i:])
        for j in range(i):
            swapped = pieces.copy()
            swapped[i], swapped[j] = pieces[j], pieces[i]
            yield f"pieces {i} and {j} swapped", b"".join(swapped)


def test_damage_to_a_complete_shard_is_found_before_an_image_is_used(place):
    finish(place)
    whole = place.complete.read_bytes()
    for what, data in mutations(place, whole):
        place.complete.write_bytes(data)
        with pytest.raises(FormatError, match=r"shard-00007\.log: damaged .* delete it and run"):
            list(read_records(place))
        if "blob" not in what:  # those are passed over until they are used
            with pytest.raises(FormatError, match="delete it and run"):
                read_complete(place)


def test_a_shard_in_anothers_place_is_found(place, whole):
    for other in (place._replace(job="another"), place._replace(shard=Shard(8, 0, 6))):
        other.complete.write_bytes(whole)
        with pytest.raises(FormatError, match="or not of this job"):
            read_complete(other)


def test_images_below_the_floor_are_scored_without_blobs(place):
    finish(place, floor=Rank.of(5, 5 / 3))
    entries = read_complete(place)
    assert {e.item: (e.score, e.blob_bytes) for e in entries if e.reason is None} == {
        0: (0.0, 0),
        4: (4 / 3, 0),
        5: (5 / 3, 103),
    }


def test_compaction_drops_blobs_and_keeps_everything_else(tmp_path, place):
    finish(place)
    before, size = list(read_records(place)), place.complete.stat().st_size
    compact_shard(place, {0, 4})
    assert place.complete.stat().st_size == size - 2 * 103 - 2 * (len("[100,0,3]") - len("[]"))
    after = list(read_records(place))
    assert [(*r.entry[:3], r.meta, r.label) for r in after] == [
        (*r.entry[:3], r.meta, r.label) for r in before
    ]
    assert [r.blobs for r in after] == [[], [], [], [], [], before[5].blobs]
    assert names(tmp_path) == ["shard-00007.log"]


def test_a_reopened_shard_is_done_again_in_part_and_read_in_order(tmp_path, place, whole):
    finish(place)
    reopen_shard(place, {0, 2}, complete=True)
    assert names(tmp_path) == ["shard-00007.log.part", "whole"]
    reopen_shard(place, {3}, complete=False)
    task = Numbers()
    assert [entry.item for entry in finish(place, task)] == task.done == [0, 2, 3]
    again, first = list(read_records(place)), list(read_records(place._replace(folder=tmp_path / "whole")))
    assert again == first


def test_of_equal_scores_the_earlier_item_is_the_better():
    assert Rank.of(3, 0.5) > Rank.of(4, 0.5) > Rank.of(0, 0.4)


def test_a_full_disk_ends_the_job_and_is_not_an_items_fault(place, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("celebahq.jobs.logs.SYNC_INTERVAL_SEC", 0.0)
    with owning_folder(place.folder) as scratch:
        shard = finish_shard(Work(Numbers(), scratch, place.job), Assignment(place.shard))
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ToolError, match=r"shard-00007\.log\.part: No space left on device; run the same"):
            list(shard)
    monkeypatch.undo()
    with ShardLog(place) as log:
        log.append(0, Skipped("why not"))
