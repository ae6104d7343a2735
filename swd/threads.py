"""Work in a few threads: NumPy, OpenCV and torch let go of the interpreter's lock while they compute."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def in_threads(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Map in threads, or in the caller's for one worker; results come in order, and no more than a few wait.

    Meanwhile torch itself uses one thread: its own would only compete with these.
    """
    if workers == 1:
        with _one_torch_thread():
            yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    with _one_torch_thread(), ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def run_in_threads(function: Callable[[T], None], items: Iterable[T], workers: int) -> None:
    """Call in threads, as `in_threads`, what gives no result."""
    for _ in in_threads(function, items, workers):
        pass


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
