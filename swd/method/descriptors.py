"""Descriptors: patches cut from the levels of an image's pyramid, and their normalisation."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from swd.method.laplacian import laplacian_pyramid, level_resolutions
from swd.method.randomness import patch_centers
from swd.method.threads import in_threads

NHOOD_SIZE = 7
"""Side of a patch in pixels."""

# Patches handled at a time: float64 copies stay in a processor's cache, or small on a GPU.
_CPU_CHUNK, _GPU_CHUNK = 1 << 10, 1 << 17
_CHUNKS_PER_PART = 8


@torch.no_grad()
def describe(
    images: Tensor,
    indices: Tensor,
    *,
    set_id: int,
    patches: int = 128,
    seed: int = 0,
    draws: Sequence[int] = (0,),
) -> list[list[Tensor]]:
    """Random patches of every level of some images.

    Args:
        images: `[N, C, r, r]`, uint8 or floating.
        indices: `[N]` integer, each image's index in its set.
        set_id: `REALS` or `FAKES`.
        patches: Per image and level, P.
        seed: Key of all randomness.
        draws: Each gives patches of its own.

    Returns:
        Per draw, per level from the finest on, `[N * P, C, 7, 7]` float32.
    """
    levels = laplacian_pyramid(images, len(level_resolutions(min(images.shape[2:]))))
    sizes = [(level.shape[2], level.shape[3]) for level in levels]
    described = []
    for draw in draws:
        centers = patch_centers(indices, sizes, patches=patches, seed=seed, set_id=set_id, draw=draw)
        described.append([gather_patches(*pair) for pair in zip(levels, centers, strict=True)])
    return described


def gather_patches(level: Tensor, centers: Tensor, size: int = NHOOD_SIZE) -> Tensor:
    """Cut square neighbourhoods out of one level.

    Args:
        level: `[N, C, H, W]`.
        centers: `[N, P, 2]` integer (y, x) of each patch's middle pixel.
        size: Side in pixels, odd.

    Returns:
        `[N * P, C, size, size]`, rows and columns as in the image, an image's own patches adjacent. (The
        original code stores each patch transposed; the distance between sets is not affected.)

    Raises:
        ValueError: The shapes do not fit, or a patch would leave the level.

    Source: Karras et al. 2018, section 5.

    >>> import swd, torch
    >>> level = torch.arange(81.0).reshape(1, 1, 9, 9)
    >>> swd.gather_patches(level, torch.tensor([[[4, 4]]]), size=3)[0, 0].tolist()
    [[30.0, 31.0, 32.0], [39.0, 40.0, 41.0], [48.0, 49.0, 50.0]]
    """
    if level.ndim != 4:
        raise ValueError(f"level: expected [N, C, H, W], got shape {tuple(level.shape)}")
    if centers.ndim != 3 or centers.shape[0] != level.shape[0] or centers.shape[2] != 2:
        raise ValueError(f"centers: expected [{level.shape[0]}, P, 2], got shape {tuple(centers.shape)}")
    corners = centers.to(device=level.device, dtype=torch.int64) - size // 2
    last = torch.tensor([level.shape[2] - size, level.shape[3] - size], device=level.device)
    if bool(((corners < 0) | (corners > last)).any()):
        raise ValueError(
            f"centers: a {size}x{size} patch leaves the level of {level.shape[2]}x{level.shape[3]} px"
        )
    _, channels, height, width = level.shape
    # All windows as one view, numbered by where they begin in memory: one index is faster than three.
    plane = height * width
    span = (channels - 1) * plane + (size - 1) * (width + 1)
    windows = level.contiguous().as_strided(
        (max(0, level.numel() - span), channels, size, size), (1, plane, width, 1)
    )
    image = torch.arange(len(level), device=level.device)[:, None]
    begins = image * channels * plane + corners[..., 0] * width + corners[..., 1]
    return windows.index_select(0, begins.flatten())


@torch.no_grad()
def normalize_descriptors(desc: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Bring each colour channel of a set's descriptors to mean 0 and standard deviation 1.

    Args:
        desc: `[M, C, 7, 7]` floating, all patches of one set and level; not changed.
        out: Where to put the result, float32 of the shape of `desc`; may be `desc` itself, to save memory.

    Returns:
        `[M, C * 49]` float32. Mean and (population) standard deviation are taken over patches and pixels in
        float64. A channel without variation, whose standard deviation is no more than float32's rounding of
        its mean, becomes zeros.

    Raises:
        ValueError: `desc` is not `[M, C, h, w]`, or empty.

    Source: Karras et al. 2018, section 5.

    >>> import swd, torch
    >>> patches = torch.rand(128, 3, 7, 7)
    >>> swd.normalize_descriptors(patches).shape
    torch.Size([128, 147])
    """
    if desc.ndim != 4 or desc.numel() == 0:
        raise ValueError(f"desc: expected [M, C, h, w] with M > 0, got shape {tuple(desc.shape)}")
    mean, std = _channel_statistics(desc)
    constant = std <= torch.finfo(torch.float32).eps * mean.abs()
    scale = torch.where(constant, 0.0, 1.0 / std.where(~constant, 1.0))
    shift, scale = mean.float()[:, None, None], scale.float()[:, None, None]
    result = torch.empty(desc.shape, dtype=torch.float32, device=desc.device) if out is None else out

    def normalize(part: slice) -> None:
        for rows in _chunks(part, desc.device):
            # Float64 descriptors are rounded first: what comes out does not depend on their type.
            torch.sub(desc[rows].float(), shift, out=result[rows]).mul_(scale)

    for _ in in_threads(normalize, *_parts(desc)):
        pass
    return result.flatten(1)


def _channel_statistics(desc: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of `[M, C, h, w]`, `[C]` float64.

    In one pass over the differences from a value of the channel, so that a constant gives exactly 0.
    """
    origin = desc[0, :, 0, 0].double()[:, None, None]

    def add_up(part: slice) -> Tensor:
        sums = torch.zeros(2, *desc[0].shape, dtype=torch.float64, device=desc.device)
        room = torch.empty_like(desc[: _chunk_rows(desc.device)], dtype=torch.float64)
        for rows in _chunks(part, desc.device):
            difference = room[: rows.stop - rows.start].copy_(desc[rows]).sub_(origin)
            sums[0] += difference.sum(0)
            sums[1] += difference.square_().sum(0)
        return sums

    sums, squares = torch.stack(list(in_threads(add_up, *_parts(desc)))).sum((0, 3, 4))
    count = desc.numel() // desc.shape[1]
    mean = sums / count
    variance = squares / count - mean.square()
    return origin[:, 0, 0] + mean, variance.clamp(min=0).sqrt()


def _parts(desc: Tensor) -> tuple[list[slice], int]:
    """Rows that a thread handles, and the number of threads, on which the parts do not depend."""
    workers = torch.get_num_threads() if desc.device.type == "cpu" else 1
    return list(_cut(slice(0, len(desc)), _CHUNKS_PER_PART * _chunk_rows(desc.device))), workers


def _chunks(part: slice, device: torch.device) -> Iterator[slice]:
    """Rows of a part to handle at a time."""
    return _cut(part, _chunk_rows(device))


def _cut(rows: slice, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size))


def _chunk_rows(device: torch.device) -> int:
    return _CPU_CHUNK if device.type == "cpu" else _GPU_CHUNK
