"""How long work says where it is: it calls a function, and writes nothing itself."""

from collections.abc import Callable
from typing import NamedTuple


class Stage(NamedTuple):
    """Where a stage of the work is."""

    name: str
    done: int
    """Items that are finished, the skipped ones among them."""
    total: int
    skipped: int = 0
    """Items that were left out."""
    unit: str = "images"
    """What the items are."""


Progress = Callable[[Stage], object]
"""What wants to know: called when a stage begins, and after every item or few."""


def silent(stage: Stage) -> None:
    """The progress of those who do not want to know."""
