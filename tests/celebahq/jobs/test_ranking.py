"""The best are known at every moment, and so is the room that the others take."""

import random

import pytest

from celebahq.jobs.ranking import Ranking
from celebahq.jobs.shards import Entry, Rank

SHARD_SIZE = 10


@pytest.mark.parametrize("seed", range(5))
def test_at_every_moment_the_ranking_is_that_of_a_sorted_list(seed):
    rng = random.Random(seed)
    items = rng.sample(range(60), 60)  # as workers finish them
    ranking, entries = Ranking(12, SHARD_SIZE), {}
    for item in items:
        entries[item] = Entry(item, rng.randrange(8) / 4, None, rng.randrange(1, 9))
        ranking.add(entries[item], entries)
        by_quality = sorted(
            entries.values(), key=lambda entry: Rank.of(entry.item, entry.score), reverse=True
        )
        best = {entry.item for entry in by_quality[:12]}
        assert ranking.kept() == sorted(best)
        assert ranking.floor() == (
            None if len(best) < 12 else Rank.of(by_quality[11].item, by_quality[11].score)
        )
        for shard in range(6):
            mine = [entry for entry in entries.values() if entry.item // SHARD_SIZE == shard]
            out = [entry for entry in mine if entry.item not in best and entry.blob_bytes]
            assert ranking.fallen(mine) == {entry.item for entry in out}
            most = 2 * sum(entry.blob_bytes for entry in out) > sum(entry.blob_bytes for entry in mine)
            assert ranking.is_wasteful(shard) == most
            if most:  # as the job does: their images go
                entries |= {entry.item: entry._replace(blob_bytes=0) for entry in out}
                ranking.weigh(shard, [entries[entry.item] for entry in mine])
                assert not ranking.is_wasteful(shard)


def test_what_is_removed_makes_room_and_comes_back_when_it_is_counted_again():
    entries = {item: Entry(item, float(item), None, 1) for item in range(5)}
    ranking = Ranking(3, SHARD_SIZE)
    for entry in entries.values():
        ranking.add(entry, entries)
    ranking.remove({4})
    assert ranking.kept() == [2, 3]
    assert ranking.floor() is None
    ranking.add(entries[4], entries)
    assert ranking.kept() == [2, 3, 4]
