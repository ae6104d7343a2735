"""The sliced Wasserstein distance between two sets of descriptors."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_CHUNK_DIRECTIONS = 128
_CHUNK_BYTES = 512 << 20
# Bytes that sorting one projected value takes on a GPU: in and out, indices, the sort's double buffers.
_GPU_SORT_BYTES = 48


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
    if a.ndim != 2 or b.ndim != 2 or directions.ndim != 2:
        shapes = tuple(a.shape), tuple(b.shape), tuple(directions.shape)
        raise ValueError("a, b, directions: expected [M, D], [K, D], [D, P], got {}, {}, {}".format(*shapes))
    if not a.shape[1] == b.shape[1] == directions.shape[0]:
        found = f"{a.shape[1]}, {b.shape[1]}, {directions.shape[0]}"
        raise ValueError(f"a, b, directions: the dimensions D differ: {found}")
    if 0 in (len(a), len(b)):
        raise ValueError(f"a, b: an empty set has no distance (sizes {len(a)} and {len(b)})")
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    a, b, directions = a.to(dtype), b.to(dtype), directions.to(a.device, dtype)
    matching = None if len(a) == len(b) else _match_quantiles(len(a), len(b))
    distances = [
        _chunk_distances(_project(a, chunk), _project(b, chunk), matching)
        for chunk in torch.split(directions, _chunk_size(max(len(a), len(b)), a.device), dim=1)
    ]
    return torch.cat(distances)


def _chunk_size(rows: int, device: torch.device) -> int:
    """Directions to project at a time, as memory allows."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return max(1, min(_CHUNK_DIRECTIONS, free // 2 // (rows * _GPU_SORT_BYTES)))
    return max(1, min(_CHUNK_DIRECTIONS, _CHUNK_BYTES // (4 * rows)))


def _project(descriptors: Tensor, directions: Tensor) -> Tensor:
    """`[P, M]`: each direction's projections contiguous, as sorting wants them."""
    with _full_float32(descriptors.device):
        return directions.T @ descriptors.T


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


Matching = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _match_quantiles(m: int, k: int) -> Matching:
    """Which of `m` sorted values faces which of `k`, and for what share of the probability.

    The quantile functions are steps at multiples of 1/m and 1/k; between two steps both are constant.
    """
    common = math.lcm(m, k)
    steps = np.union1d(np.arange(0, common + 1, common // m), np.arange(0, common + 1, common // k))
    starts = steps[:-1]
    return starts // (common // m), starts // (common // k), np.diff(steps) / common


def _chunk_distances(a: Tensor, b: Tensor, matching: Matching | None) -> Tensor:
    """Distance along each of P directions from `[P, M]` and `[P, K]` projections, which are overwritten."""
    if a.device.type != "cpu":
        return _sorted_distances(a.sort(dim=1).values, b.sort(dim=1).values, matching)

    # NumPy sorts contiguous rows with SIMD, far faster than torch on a CPU, and without the GIL.
    def distance(rows: tuple[NDArray[np.float32], NDArray[np.float32]]) -> float:
        for row in rows:
            row.sort()
        return _row_distance(*rows, matching)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return torch.tensor(
            list(pool.map(distance, zip(a.numpy(), b.numpy(), strict=True))), dtype=torch.float64
        )


def _row_distance(a: NDArray[np.float32], b: NDArray[np.float32], matching: Matching | None) -> float:
    """Distance between two sorted rows, summed in float64; `a` may be overwritten."""
    if matching is None:
        np.abs(np.subtract(a, b, out=a), out=a)
        return float(a.mean(dtype=np.float64))
    from_a, from_b, weights = matching
    return float(np.dot(np.abs(a[from_a] - b[from_b]), weights))


def _sorted_distances(a: Tensor, b: Tensor, matching: Matching | None) -> Tensor:
    """`_row_distance` for all rows at once, on the device."""
    if matching is None:
        return (a - b).abs().mean(dim=1, dtype=torch.float64)
    from_a, from_b, weights = (torch.from_numpy(part).to(a.device) for part in matching)
    return (a[:, from_a] - b[:, from_b]).abs().double() @ weights
