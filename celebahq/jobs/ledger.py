"""What is known about each item of a job, as columns: there may be millions."""

from collections.abc import Iterator, MutableMapping

import numpy as np

from celebahq.jobs.shards import Entry

UNKNOWN, FINISHED, SKIPPED = range(3)


class Ledger(MutableMapping[int, Entry]):
    """Item -> entry, in 17 bytes for each item there could be, and the reasons of those left out."""

    def __init__(self, total: int) -> None:
        self.scores = np.full(total, np.nan)
        """`[total]` float64; NaN where there is none."""
        self.reasons: dict[int, str] = {}
        """Of the items left out, as they came."""
        self._state = np.full(total, UNKNOWN, np.uint8)
        self.blob_bytes = np.zeros(total, np.int64)
        """`[total]` int64: what their images take in the logs."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, item: object) -> bool:
        return isinstance(item, int) and bool(self._state[item] != UNKNOWN)

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self._state).tolist())

    def __getitem__(self, item: int) -> Entry:
        if item not in self:
            raise KeyError(item)
        score = float(self.scores[item])
        scored = None if np.isnan(score) else score
        return Entry(item, scored, self.reasons.get(item), int(self.blob_bytes[item]))

    def __setitem__(self, item: int, entry: Entry) -> None:
        self._count += item not in self
        self._state[item] = FINISHED if entry.reason is None else SKIPPED
        self.scores[item] = np.nan if entry.score is None else entry.score
        self.blob_bytes[item] = entry.blob_bytes
        self.reasons.pop(item, None)
        if entry.reason is not None:
            self.reasons[item] = entry.reason

    def __delitem__(self, item: int) -> None:
        if item not in self:
            raise KeyError(item)
        self._count -= 1
        self._state[item] = UNKNOWN
        self.scores[item], self.blob_bytes[item] = np.nan, 0
        self.reasons.pop(item, None)

    def finished(self) -> np.ndarray:
        """`[n]` int64: the items that have a result, in their order."""
        return np.flatnonzero(self._state == FINISHED)
