"""The sliced Wasserstein distance between two sets of descriptors."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .threads import run_in_threads

# Projected values that a thread sorts and compares in one go: what a processor's own cache holds.
_BLOCK = 1 << 18
_CHUNK_DIRECTIONS = 64
_CHUNK_BYTES = 512 << 20
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
    """
    distances = direction_distances(a, b, directions)
    return distances.mean().to(torch.promote_types(a.dtype, torch.float32))


@torch.no_grad()
def direction_distances(a: Tensor, b: Tensor, directions: Tensor) -> Tensor:
    """The distance along each direction, `[P]` float64; arguments as for `sliced_wasserstein`."""
    _check_sets(a, b, directions)
    matching = match_quantiles(len(a), len(b))
    along = torch.empty(directions.shape[1], dtype=torch.float64, device=a.device)
    for which, x, y in project(a, b, directions):
        run_in_threads(
            partial(_compare, x, y, along[which], matching), row_blocks(x), torch.get_num_threads()
        )
    return along


def _compare(x: Tensor, y: Tensor, along: Tensor, matching: Matching | None, rows: slice) -> None:
    """Put the distances between some rows of projections `[p, M]` and `[p, K]` into `along` `[p]`."""
    along[rows] = sorted_distances(sort_rows(x[rows]), sort_rows(y[rows]), matching)


def project(a: Tensor, b: Tensor, directions: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Project two sets onto some directions at a time, as many as memory allows.

    Yields:
        Which p of the directions, the projections `[p, M]` and `[p, K]`, each direction's contiguous; the
        next ones overwrite them.

    Raises:
        ValueError: The shapes do not fit, or a set is empty.
    """
    _check_sets(a, b, directions)
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    a, b, directions = a.to(dtype), b.to(dtype), directions.to(a.device, dtype)
    count = directions.shape[1]
    size = min(_chunk_size(max(len(a), len(b)), a.device), count)
    # Fresh memory for every chunk would cost about as much as the products.
    x, y = (torch.empty(size, len(rows), dtype=dtype, device=a.device) for rows in (a, b))
    for start in range(0, count, max(1, size)):
        which = slice(start, min(start + size, count))
        chunk = directions[:, which]
        into_x, into_y = x[: chunk.shape[1]], y[: chunk.shape[1]]
        with _full_float32(a.device):
            torch.mm(chunk.T, a.T, out=into_x)
            torch.mm(chunk.T, b.T, out=into_y)
        yield which, into_x, into_y


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


def _chunk_size(rows: int, device: torch.device) -> int:
    """Directions to project at a time, as memory allows."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return max(1, min(_CHUNK_DIRECTIONS, free // 2 // (rows * _GPU_SORT_BYTES)))
    return max(1, min(_CHUNK_DIRECTIONS, _CHUNK_BYTES // (4 * rows)))


@contextmanager
def _full_float32(device: torch.device) -> Iterator[None]:
    """Keep matrix products in float32, whatever the caller allows elsewhere (TF32, bfloat16, autocast)."""
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(allowed)


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
