"""Shard logs: what is recorded survives, what is torn is cut off, what cannot win loses its blobs."""

import errno
import os

import numpy as np
import pytest

from celebahq.errors import FormatError, ToolError
from celebahq.jobs.shards import (
    Finished,
    Rank,
    Shard,
    ShardLog,
    Skipped,
    Task,
    compact_shard,
    plan_shards,
    read_entries,
    read_records,
    write_shard,
)


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


@pytest.fixture
def shard():
    return Shard(7, 0, 6)


def test_shards_cover_all_items_once():
    shards = plan_shards(10, 4)
    assert [(s.number, s.start, s.stop) for s in shards] == [(0, 0, 4), (1, 4, 8), (2, 8, 10)]
    assert plan_shards(0, 4) == []


def test_a_record_comes_back_as_it_was(tmp_path, shard):
    reported = []
    write_shard(Numbers(), shard, tmp_path, None, reported.append)
    assert [path.name for path in tmp_path.iterdir()] == ["shard-00007.log"]

    records = list(read_records(tmp_path / shard.file_name))
    assert [record.entry for record in records] == reported == read_entries(tmp_path / shard.file_name)
    record = records[4]
    assert record.blobs == [bytes([4]) * 100, b"", b"low"]
    assert record.entry == (4, 4 / 3, None, 103)
    assert record.meta["name"] == "n4"
    np.testing.assert_array_equal(record.meta["landmarks"], np.arange(4.0).reshape(2, 2) / 3)
    assert np.float32(record.meta["side"]) == np.float32(0.1)
    assert np.array_equal(np.array(record.label, np.float32), np.array([0.1, 1], np.float32))


def test_whatever_goes_wrong_with_an_item_is_its_reason(tmp_path, shard):
    entries = []
    write_shard(Numbers(), shard, tmp_path, None, entries.append)
    reasons = {entry.item: entry.reason for entry in entries if entry.reason}
    assert reasons == {
        1: "1.jpg: truncated",
        2: "unexpected ZeroDivisionError: a bug",
        3: "its score is nan",
    }


@pytest.mark.parametrize("kept_part", [0.0, 0.1, 0.5, 0.97])
def test_a_torn_record_is_cut_off_and_done_again(tmp_path, shard, kept_part):
    whole = tmp_path / "whole"
    whole.mkdir()
    write_shard(Numbers(), shard, whole, None, lambda entry: None)
    data = (whole / shard.file_name).read_bytes()

    part = tmp_path / (shard.file_name + ".part")
    part.write_bytes(data[: int(len(data) * kept_part)])
    before = [entry.item for entry in read_entries(part)]
    task = Numbers()
    write_shard(task, shard, tmp_path, None, lambda entry: None)
    assert task.done == [item for item in range(6) if item not in before]
    assert (tmp_path / shard.file_name).read_bytes() == data


def test_a_tail_of_zeros_after_a_power_cut_is_cut_off(tmp_path, shard):
    write_shard(Numbers(), shard, tmp_path, None, lambda entry: None)
    complete = tmp_path / shard.file_name
    data = complete.read_bytes()
    part = tmp_path / (shard.file_name + ".part")
    part.write_bytes(data[:-50] + bytes(50))  # the length was written, the last blocks were not
    complete.unlink()
    assert [entry.item for entry in read_entries(part)] == [0, 1, 2, 3, 4]
    with ShardLog(part) as log:
        log.append(5, Skipped("why not"))
    assert [entry.reason for entry in read_entries(part)][5] == "why not"


def test_a_complete_shard_is_left_alone(tmp_path, shard):
    write_shard(Numbers(), shard, tmp_path, None, lambda entry: None)
    task = Numbers()
    write_shard(task, shard, tmp_path, None, lambda entry: None)
    assert task.done == []


@pytest.mark.parametrize("damage", ["flip", "cut", "grow"])
def test_damage_to_a_complete_shard_is_found(tmp_path, shard, damage):
    write_shard(Numbers(), shard, tmp_path, None, lambda entry: None)
    path = tmp_path / shard.file_name
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-10] ^= 1
    path.write_bytes({"flip": data, "cut": data[:-10], "grow": data + b"CHQR"}[damage])
    with pytest.raises(FormatError, match=r"shard-00007\.log: damaged .* delete it and run"):
        list(read_records(path))


def test_images_below_the_floor_are_scored_without_blobs(tmp_path, shard):
    write_shard(Numbers(), shard, tmp_path, Rank.of(5, 5 / 3), lambda entry: None)
    entries = read_entries(tmp_path / shard.file_name)
    assert {e.item: (e.score, e.blob_bytes) for e in entries if e.reason is None} == {
        0: (0.0, 0),
        4: (4 / 3, 0),
        5: (5 / 3, 103),
    }


def test_compaction_drops_blobs_and_keeps_everything_else(tmp_path, shard):
    write_shard(Numbers(), shard, tmp_path, None, lambda entry: None)
    path = tmp_path / shard.file_name
    before = list(read_records(path))
    size = path.stat().st_size
    compact_shard(path, {0, 4})
    assert path.stat().st_size == size - 2 * 103 - 2 * (len("[100,0,3]") - len("[]"))
    after = list(read_records(path))
    assert [(*r.entry[:3], r.meta, r.label) for r in after] == [
        (*r.entry[:3], r.meta, r.label) for r in before
    ]
    assert [r.blobs for r in after] == [[], [], [], [], [], before[5].blobs]


def test_of_equal_scores_the_earlier_item_is_the_better():
    assert Rank.of(3, 0.5) > Rank.of(4, 0.5) > Rank.of(0, 0.4)


def test_a_full_disk_ends_the_job_and_is_not_an_items_fault(tmp_path, shard, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("celebahq.jobs.shards.SYNC_INTERVAL_SEC", 0.0)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ToolError, match=r"shard-00007\.log\.part: No space left on device; run the same"):
        write_shard(Numbers(), shard, tmp_path, None, lambda entry: None)
