"""The sliced Wasserstein distance between two sets of descriptors."""

import math
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swd.method.threads import full_float32, in_threads

R = TypeVar("R")

# Projected values that a thread sorts and compares in one go: what a processor's own cache holds.
_BLOCK = 1 << 18
# Directions that a thread projects onto at a time, and what the projections of a set take in all threads.
_CHUNK_DIRECTIONS = 64
_CHUNK_BYTES = 1 << 30
# Bytes that sorting one projected value takes on a GPU: in and out, indices, the sort's double buffers.
_GPU_SORT_BYTES = 48

Matching = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Of two sorted rows, which value faces which, and for what share of the probability."""


def sliced_wasserstein(a: Tensor, b: Tensor, directions: Tensor) -> Tensor:
    """Mean over directions of the 1-D Wasserstein-1 distance between two projected sets.

    Args:
        a: `[M, D]` floating, normalised descriptors.
        b: `[K, D]`; K may differ from M: the distance between the two empirical distributions is exact.
        directions: `[D, P]` unit vectors.

    Returns:
        0-d tensor on the device of `a`, float64 if the inputs are, else float32.

    Raises:
        ValueError: The shapes do not fit, or a set is empty.

    Source: Karras et al. 2018, section 5; Rabin et al. 2011.

    >>> import swd, torch
    >>> a = torch.rand(100, 2)
    >>> float(swd.sliced_wasserstein(a, a + 3, torch.eye(2)))  # every direction sees the shift
    3.0
    """
    distances = direction_distances(a, b, directions)
    return distances.mean().to(torch.promote_types(a.dtype, torch.float32))


@torch.no_grad()
def direction_distances(a: Tensor, b: Tensor, directions: Tensor) -> Tensor:
    """The distance along each direction, `[P]` float64; arguments as for `sliced_wasserstein`."""
    _check_sets(a, b, directions)
    matching = match_quantiles(len(a), len(b))
    along = torch.empty(directions.shape[1], dtype=torch.float64, device=a.device)

    def compare(which: slice, x: Tensor, y: Tensor) -> None:
        of_chunk = along[which]
        for rows in row_blocks(x):
            of_chunk[rows] = sorted_distances(sort_rows(x[rows]), sort_rows(y[rows]), matching)

    over_directions(compare, a, b, directions)
    return along


@torch.no_grad()
def over_directions(
    work: Callable[[slice, Tensor, Tensor], R], a: Tensor, b: Tensor, directions: Tensor
) -> list[R]:
    """Project two sets onto some directions at a time, as many as memory allows, and work on that.

    On a CPU several threads do so side by side, which never wait for each other.

    Args:
        work: Called with which p of the directions, and the projections `[p, M]` and `[p, K]`, each
            direction's contiguous; it may overwrite them, and is not to keep them.
        a: `[M, D]`.
        b: `[K, D]`.
        directions: `[D, P]`.

    Returns:
        What `work` gives, in the directions' order.
    """
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    a, b, directions = a.to(dtype), b.to(dtype), directions.to(a.device, dtype)
    workers = torch.get_num_threads() if a.device.type == "cpu" else 1
    size = _chunk_size(directions.shape[1], max(len(a), len(b)), a.device, workers)
    # Fresh memory for every chunk would cost about as much as the products.
    buffers: SimpleQueue[Sequence[Tensor]] = SimpleQueue()
    for _ in range(workers):
        buffers.put([torch.empty(size, len(rows), dtype=dtype, device=a.device) for rows in (a, b)])

    def project(start: int) -> R:
        chunk = directions[:, start : start + size].T
        whole = buffers.get()
        x, y = (buffer[: len(chunk)] for buffer in whole)
        try:
            with torch.autocast(a.device.type, enabled=False):
                torch.mm(chunk, a.T, out=x)
                torch.mm(chunk, b.T, out=y)
            return work(slice(start, start + len(chunk)), x, y)
        finally:
            buffers.put(whole)

    with full_float32.held():
        return list(in_threads(project, range(0, directions.shape[1], size), workers))


def _check_sets(a: Tensor, b: Tensor, directions: Tensor) -> None:
    """Raise `ValueError` if the shapes do not fit, or a set is empty."""
    if a.ndim != 2 or b.ndim != 2 or directions.ndim != 2:
        shapes = tuple(a.shape), tuple(b.shape), tuple(directions.shape)
        raise ValueError("a, b, directions: expected [M, D], [K, D], [D, P], got {}, {}, {}".format(*shapes))
    if not a.shape[1] == b.shape[1] == directions.shape[0]:
        found = f"{a.shape[1]}, {b.shape[1]}, {directions.shape[0]}"
        raise ValueError(f"a, b, directions: the dimensions D differ: {found}")
    if 0 in (len(a), len(b)):
        raise ValueError(f"a, b: an empty set has no distance (sizes {len(a)} and {len(b)})")


def _chunk_size(directions: int, rows: int, device: torch.device, workers: int) -> int:
    """Directions to project at a time, as memory allows, and so that every worker has as many."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        size = min(_CHUNK_DIRECTIONS, free // 2 // (rows * _GPU_SORT_BYTES))
    else:
        size = min(_CHUNK_DIRECTIONS, _CHUNK_BYTES // (4 * rows * workers))
    rounds = math.ceil(directions / (workers * max(1, size)))
    return max(1, math.ceil(directions / (workers * max(1, rounds))))


def row_blocks(values: Tensor) -> Iterator[slice]:
    """Rows of `[p, M]` to handle in one go: on a CPU a few, else all."""
    step = max(1, _BLOCK // values.shape[1]) if values.device.type == "cpu" else max(1, len(values))
    return (slice(start, start + step) for start in range(0, len(values), step))


def sort_rows(values: Tensor) -> Tensor:
    """`[p, M]` with each row ascending; on the CPU in place.

    There, NumPy sorts contiguous rows with SIMD, far faster than torch, and without the interpreter's lock.
    """
    if values.device.type != "cpu":
        return values.sort(dim=1).values
    values.numpy().sort(axis=1)
    return values


def match_quantiles(m: int, k: int) -> Matching | None:
    """Which of `m` sorted values faces which of `k`, and for what share of the probability.

    The quantile functions are steps at multiples of 1/m and 1/k; between two steps both are constant.

    Returns:
        Positions among the `m`, among the `k`, and shares; None if m = k, where each faces its like.
    """
    if m == k:
        return None
    common = math.lcm(m, k)
    steps = np.union1d(np.arange(0, common + 1, common // m), np.arange(0, common + 1, common // k))
    starts = steps[:-1]
    return starts // (common // m), starts // (common // k), np.diff(steps) / common


def sorted_distances(a: Tensor, b: Tensor, matching: Matching | None) -> Tensor:
    """Distance between the rows of `[p, M]` and `[p, K]`, both sorted; summed in float64, `a` overwritten."""
    if matching is None:
        return a.sub_(b).abs_().mean(dim=1, dtype=torch.float64)
    from_a, from_b, shares = (torch.from_numpy(part).to(a.device) for part in matching)
    return (a[:, from_a] - b[:, from_b]).abs().double() @ shares
