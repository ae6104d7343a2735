"""What a long job does to each of its items: the shape of a task, and of what comes out of it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import ToolError


@dataclass(frozen=True)
class Finished:
    """One item's result.

    Args:
        blobs: One encoded chunk per pyramid level, largest first, as `celebahq.pyramid.encode_image`
            gives them; empty where a job makes facts only.
        meta: Facts about the item: str, int, float, bool, or nested lists or arrays of numbers.
            Every item of a job has the same names. They must depend on nothing but the item.
        label: `(L,)` float32, for all items of a job or for none.
        score: Finite; higher is better. Needed where only the best are kept.
    """

    blobs: Sequence[bytes]
    meta: Mapping[str, Any] = field(default_factory=dict)
    label: NDArray[np.float32] | None = None
    score: float | None = None


@dataclass(frozen=True)
class Skipped:
    """An item that cannot be used, and why, in words for people."""

    reason: str


class StopJob(ToolError):
    """Raised by a task that will not go on without an item: ends the job, which does that item again."""


class Task(ABC):
    """What a job does to each item; picklable; on one machine the same result wherever it runs."""

    name: str
    """What people call the stage."""
    may_move: bool = False
    """Whether an item may get another number when others join it."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """JSON facts that determine the result; a job is not continued with other ones."""

    listing: ClassVar[tuple[str, ...]] = ()
    """Names in the fingerprint that only say which items there are: another list may go on with the job."""

    def key(self, index: int) -> str | None:
        """What tells an item's content from any other's, wherever it stands; None where nothing does."""
        return None

    def content(self, index: int) -> str | None:
        """The same of an item whose key nobody knows, where it takes longer to find out."""
        return None

    def recorded_content(self, meta: Mapping[str, Any]) -> str | None:
        """The `content` of the item that was recorded with these facts."""
        return None

    def reuse(self, index: int, earlier: Finished) -> Finished:
        """An earlier result of the same content as that of item `index`."""
        return earlier

    @abstractmethod
    def process(self, index: int) -> Finished | Skipped:
        """Do one item. An error raised here is the item's reason to be skipped, unless it may pass."""

    def start(self) -> None:  # noqa: B027 (most tasks have nothing to load)
        """Load what `process` needs, once per worker. An error raised here ends the job."""

    def known(self, index: int) -> dict[str, Any]:
        """The facts about an item, of those in its `meta`, that are known before it is done, and name it."""
        return {"orig_idx": index}

    def item_name(self, index: int) -> str:
        """What people call the item: its file name, say."""
        return f"item {index}"
