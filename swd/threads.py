"""Work in a few threads beside torch's own."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from celebahq.threads import ordered_map

T = TypeVar("T")
R = TypeVar("R")


def in_threads(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Map in threads, or in the caller's for one worker; results come in order, and no more than a few wait.

    Meanwhile torch itself uses one thread: its own would only compete with these.
    """
    with _one_torch_thread():
        yield from map(function, items) if workers == 1 else ordered_map(function, items, workers)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
