"""How a long job says where it is: it calls a function, and writes nothing itself."""

from typing import Protocol


class Progress(Protocol):
    """What wants to know: called after every item, and when a stage begins."""

    def __call__(self, stage: str, done: int, total: int, skipped: int) -> None:
        """`done` of `total` items of a stage are there; `skipped` of them were left out."""


def silent(stage: str, done: int, total: int, skipped: int) -> None:
    """The progress of those who do not want to know."""
