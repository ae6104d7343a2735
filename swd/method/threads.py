"""Work in a few threads beside the libraries' own, and settings of theirs that are held meanwhile."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import repeat
from threading import Lock
from typing import Generic, TypeVar

import torch
from threadpoolctl import LibController, ThreadpoolController

from celebahq.threads import ordered_map

T = TypeVar("T")
R = TypeVar("R")


class HeldSetting(Generic[T]):
    """A setting of the process that has another value while anybody needs that, in whichever thread."""

    def __init__(
        self, read: Callable[[], T], write: Callable[[T], object], value: T, *, per_thread: bool = False
    ) -> None:
        """Args: `per_thread` says that a thread remembers what it wrote itself, so that each must undo it."""
        self._read, self._write, self._value, self._per_thread = read, write, value, per_thread
        self._lock, self._holders = Lock(), 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the value; the last one to go puts back what the first one found."""
        with self._lock:
            if self._holders == 0:
                self._before = self._read()
            self._holders += 1
            self._write(self._value)
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._per_thread or not self._holders:
                    self._write(self._before)


def _read_precisions() -> tuple[str, ...]:
    return tuple(backend.fp32_precision for backend in _PRODUCTS)


def _write_precisions(precisions: tuple[str, ...]) -> None:
    for backend, precision in zip(_PRODUCTS, precisions, strict=True):
        backend.fp32_precision = precision


# Not `torch.set_float32_matmul_precision`: its reading half raises once anybody has set one of these alone.
_PRODUCTS = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]

full_float32 = HeldSetting[tuple[str, ...]](_read_precisions, _write_precisions, ("ieee", "ieee"))
"""Matrix products in float32, whatever the caller allows elsewhere (TF32, bfloat16)."""


@cache
def _blas() -> list[LibController]:
    """NumPy's libraries of matrix products."""
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _read_blas_threads() -> Iterable[int]:
    return [library.num_threads for library in _blas()]


def _write_blas_threads(counts: Iterable[int]) -> None:
    for library, count in zip(_blas(), counts, strict=False):
        library.set_num_threads(count)


one_blas_thread = HeldSetting[Iterable[int]](_read_blas_threads, _write_blas_threads, repeat(1))
"""Matrix products of NumPy in the thread that asks for them."""

_one_torch_thread = HeldSetting(torch.get_num_threads, torch.set_num_threads, 1, per_thread=True)


def in_threads(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Map in threads, or in the caller's for one worker; results come in order, and no more than a few wait.

    Meanwhile torch itself uses one thread: its own would only compete with these. Gradients and inference
    mode are on or off as in the caller's thread.
    """
    gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def as_here(item: T) -> R:
        # A fresh thread would begin with as many as OpenMP has, and on some processors more threads add up in
        # another order: which items come first in their thread would show in the results.
        torch.set_num_threads(1)
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return function(item)

    with _one_torch_thread.held():
        yield from map(as_here, items) if workers == 1 else ordered_map(as_here, items, workers)
