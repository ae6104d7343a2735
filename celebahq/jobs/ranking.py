"""Which of a job's images are the best so far, and how much room the others take."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping

from celebahq.jobs.shards import Entry, Rank


class Ranking:
    """The best `keep` items of those that were counted, and the bytes of the images by shard."""

    def __init__(self, keep: int, shard_size: int) -> None:
        self.keep, self._shard_size = keep, shard_size
        self._best: list[Rank] = []  # heap: the worst of them first
        self._stored: Counter[int] = Counter()  # bytes of images, by shard
        self._useless: Counter[int] = Counter()  # of those that are not among the best

    def floor(self) -> Rank | None:
        """The worst place among the best, once there are `keep` of them."""
        return self._best[0] if len(self._best) == self.keep else None

    def kept(self) -> list[int]:
        """The best items, in their order."""
        return sorted(-rank.negative_index for rank in self._best)

    def add(self, entry: Entry, entries: Mapping[int, Entry]) -> int:
        """Count a finished item; gives the shard in which an image has become useless, or its own."""
        if entry.score is None:
            raise ValueError("keep: the task's results have no score to rank them by")
        shard = entry.item // self._shard_size
        self._stored[shard] += entry.blob_bytes
        heapq.heappush(self._best, Rank.of(entry.item, entry.score))
        if len(self._best) > self.keep:
            fallen = -heapq.heappop(self._best).negative_index
            shard = fallen // self._shard_size
            self._useless[shard] += entries[fallen].blob_bytes
        return shard

    def is_wasteful(self, shard: int) -> bool:
        """Whether most of a shard's images cannot be kept any more."""
        return 2 * self._useless[shard] > self._stored[shard]

    def fallen(self, entries: Iterable[Entry]) -> set[int]:
        """Of some finished items, those that cannot be kept any more and have an image still."""
        floor = self.floor()
        if floor is None:
            return set()
        return {
            entry.item
            for entry in entries
            if entry.blob_bytes and Rank.of(entry.item, entry.score or 0.0) < floor
        }

    def weigh(self, shard: int, entries: list[Entry]) -> None:
        """Add up anew what a shard's images take."""
        fallen = self.fallen(entries)
        self._stored[shard] = sum(entry.blob_bytes for entry in entries)
        self._useless[shard] = sum(entry.blob_bytes for entry in entries if entry.item in fallen)

    def remove(self, items: set[int]) -> None:
        """Count some items no more."""
        self._best = [rank for rank in self._best if -rank.negative_index not in items]
        heapq.heapify(self._best)
