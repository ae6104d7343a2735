"""What a job did, in numbers."""

from dataclasses import dataclass
from functools import cached_property

from celebahq.jobs.shards import Rank


@dataclass(frozen=True)
class JobReport:
    """What a job did, in numbers."""

    total: int
    kept: list[int]
    """Items in the file, in its order."""
    scores: dict[int, float]
    """Of all finished items, where there are scores."""
    skipped: dict[int, str]
    """Item -> reason."""
    resumed: int
    """Items that earlier runs had finished."""
    elapsed_sec: float
    """Of the last run, before writing."""

    @cached_property
    def ranking(self) -> list[int]:
        """All items that have a score, the best first."""
        return sorted(self.scores, key=lambda item: Rank.of(item, self.scores[item]), reverse=True)

    @property
    def items_per_sec(self) -> float:
        """How fast the last run was."""
        return (self.total - self.resumed) / max(self.elapsed_sec, 1e-9)
