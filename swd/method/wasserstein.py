"""The sliced Wasserstein distance between two sets of descriptors."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from queue import SimpleQueue
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swd.method.products import multiply
from swd.method.threads import full_float32, in_threads, one_blas_thread

R = TypeVar("R")

# Projected values that a thread sorts and compares in one go: what a processor's own cache holds.
_BLOCK = 1 << 18
# Directions that a thread projects onto at a time, of many and of few, and on a GPU.
_MANY_DIRECTIONS, _FEW_DIRECTIONS, _GPU_DIRECTIONS = 64, 16, 64
# With fewer than that, MKL's products take over ten times as long a value.
_LEAST_DIRECTIONS = 8
# What the projections of all sets take in a thread, and in all of them.
_THREAD_BYTES, _BYTES = 1 << 29, 1 << 31
# Bytes that one projected value takes on a GPU: in and out, indices, the sort's double buffers (48 while its
# set is sorted; the other sets' hold 8).
_GPU_VALUE_BYTES = 32

Pair = tuple[int, int]
"""Which of some sets are compared."""

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
    return pair_distances([a, b], [(0, 1)], directions)[0]


@torch.no_grad()
def pair_distances(sets: Sequence[Tensor], pairs: Sequence[Pair], directions: Tensor) -> Tensor:
    """Distances of several pairs of sets, each of which is projected and sorted once.

    Args:
        sets: `[M, D]` each, M may differ.
        pairs: Which of the sets are compared.
        directions: `[D, P]`.

    Returns:
        `[pairs, P]` float64.
    """
    matchings = [match_quantiles(len(sets[a]), len(sets[b])) for a, b in pairs]
    along = torch.empty(len(pairs), directions.shape[1], dtype=torch.float64, device=directions.device)

    def compare(which: slice, projections: Sequence[Tensor]) -> None:
        of_chunk = along[:, which]
        for rows in row_blocks(projections):
            ordered = [sort_rows(values[rows]) for values in projections]
            for number, ((a, b), matching) in enumerate(zip(pairs, matchings, strict=True)):
                of_chunk[number, rows] = sorted_distances(ordered[a], ordered[b], matching)

    over_directions(compare, sets, directions)
    return along


@torch.no_grad()
def over_directions(
    work: Callable[[slice, Sequence[Tensor]], R], sets: Sequence[Tensor], directions: Tensor
) -> list[R]:
    """Project sets onto some directions at a time, as many as memory allows, and work on that.

    On a CPU several threads do so side by side, which never wait for each other.

    Args:
        work: Called with which p of the directions, and the projections `[p, M]` of each set, each
            direction's contiguous; it may overwrite them, and is not to keep them.
        sets: `[M, D]` each.
        directions: `[D, P]`.

    Returns:
        What `work` gives, in the directions' order.
    """
    device = sets[0].device
    dtype = reduce(torch.promote_types, (rows.dtype for rows in sets), torch.float32)
    sets, directions = [part.to(dtype) for part in sets], directions.to(device, dtype)
    rows = sum(map(len, sets))
    size = _chunk_size(directions.shape[1], rows, device)
    workers = min(torch.get_num_threads(), _BYTES // (4 * rows * size)) if device.type == "cpu" else 1
    workers = max(1, workers)
    # Fresh memory for every chunk would cost about as much as the products.
    buffers: SimpleQueue[Sequence[Tensor]] = SimpleQueue()
    for _ in range(workers):
        buffers.put([torch.empty(size, len(part), dtype=dtype, device=device) for part in sets])

    def project(start: int) -> R:
        chunk = directions[:, start : start + size].T
        whole = buffers.get()
        projections = [buffer[: len(chunk)] for buffer in whole]
        try:
            with torch.autocast(device.type, enabled=False):
                for part, projected in zip(sets, projections, strict=True):
                    multiply(chunk, part.T, out=projected)
            return work(slice(start, start + len(chunk)), projections)
        finally:
            buffers.put(whole)

    with full_float32.held(), one_blas_thread.held():
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


def _chunk_size(directions: int, rows: int, device: torch.device) -> int:
    """Directions to project at a time, for all sets' rows.

    The number of threads has no say, for other products are rounded in another way: many directions make
    several chunks of the size at which products are fast, few make small ones.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return max(1, min(_GPU_DIRECTIONS, directions, free // 2 // (rows * _GPU_VALUE_BYTES)))
    size = _MANY_DIRECTIONS if directions >= 4 * _MANY_DIRECTIONS else _FEW_DIRECTIONS
    return min(directions, max(_LEAST_DIRECTIONS, min(size, _THREAD_BYTES // (4 * rows))))


def row_blocks(projections: Sequence[Tensor]) -> Iterator[slice]:
    """Rows of the sets' `[p, M]` to handle in one go: on a CPU a few, else all."""
    count = len(projections[0])
    if projections[0].device.type == "cpu":
        step = max(1, _BLOCK // max(values.shape[1] for values in projections))
    else:
        step = max(1, count)
    return (slice(start, start + step) for start in range(0, count, step))


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
    """Distance between the rows of `[p, M]` and `[p, K]`, both sorted, `[p]` float64."""
    if matching is None:
        # torch adds up pairwise: in float32 it is off by some 1e-8, in half the time of float64.
        return (a - b).abs_().mean(dim=1).double()
    from_a, from_b, shares = (torch.from_numpy(part).to(a.device) for part in matching)
    return (a[:, from_a] - b[:, from_b]).abs().double() @ shares
