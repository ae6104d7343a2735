"""What a job did, in numbers."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class JobReport:
    """What a job did, in numbers; columns, for there may be millions of items."""

    total: int
    kept: np.ndarray
    """`[n]` int64: the items in the data set, in its order."""
    scores: np.ndarray
    """`[total]` float64: of all items that have one; NaN elsewhere."""
    skipped: dict[int, str]
    """Item -> reason."""
    resumed: int
    """Items that earlier runs had finished."""
    elapsed_sec: float
    """Of the last run, before writing."""

    @cached_property
    def ranking(self) -> np.ndarray:
        """`[n]` int64: all items that have a score, the best first, of equals the earlier (see `Rank`)."""
        scored = np.flatnonzero(~np.isnan(self.scores))
        return scored[np.argsort(-self.scores[scored], kind="stable")]

    @cached_property
    def ranks(self) -> np.ndarray:
        """`[total]` int32: each item's place in the ranking; -1 without a score."""
        ranks = np.full(self.total, -1, np.int32)
        ranks[self.ranking] = np.arange(len(self.ranking), dtype=np.int32)
        return ranks

    @property
    def items_per_sec(self) -> float:
        """How fast the last run was."""
        return (self.total - self.resumed) / max(self.elapsed_sec, 1e-9)
