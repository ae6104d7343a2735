"""Descriptors: patches cut from the levels of an image's pyramid, and their normalisation."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .laplacian import laplacian_pyramid, level_resolutions
from .randomness import patch_centers

NHOOD_SIZE = 7
"""Side of a patch in pixels."""

# Rows handled at a time, so that the float64 copies stay small.
_CHUNK_ROWS = 1 << 14


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
    return [
        [
            gather_patches(
                level,
                patch_centers(
                    indices, number, *level.shape[2:], patches=patches, seed=seed, set_id=set_id, draw=draw
                ),
            )
            for number, level in enumerate(levels)
        ]
        for draw in draws
    ]


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
    windows = level.unfold(2, size, 1).unfold(3, size, 1)  # [N, C, H - size + 1, W - size + 1, size, size]
    image = torch.arange(len(level), device=level.device)[:, None]
    return windows[image, :, corners[..., 0], corners[..., 1]].flatten(0, 1)


@torch.no_grad()
def normalize_descriptors(desc: Tensor) -> Tensor:
    """Bring each colour channel of a set's descriptors to mean 0 and standard deviation 1.

    Args:
        desc: `[M, C, 7, 7]` floating, all patches of one set and level; not changed.

    Returns:
        `[M, C * 49]` float32. Mean and (population) standard deviation are taken over patches and pixels in
        float64. A channel without variation, whose standard deviation is no more than float32's rounding of
        its mean, becomes zeros.

    Raises:
        ValueError: `desc` is not `[M, C, h, w]`, or empty.

    Source: Karras et al. 2018, section 5.
    """
    if desc.ndim != 4 or desc.numel() == 0:
        raise ValueError(f"desc: expected [M, C, h, w] with M > 0, got shape {tuple(desc.shape)}")
    mean, std = _channel_statistics(desc)
    constant = std <= torch.finfo(torch.float32).eps * mean.abs()
    scale = torch.where(constant, 0.0, 1.0 / std.where(~constant, 1.0))
    result = torch.empty(desc.shape, dtype=torch.float32, device=desc.device)
    shift, scale = mean.float()[:, None, None], scale.float()[:, None, None]
    for start in range(0, len(desc), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        torch.mul(desc[rows].float() - shift, scale, out=result[rows])
    return result.flatten(1)


def _channel_statistics(desc: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of `[M, C, h, w]`, `[C]` float64.

    In two passes and fixed chunks: a constant gives exactly 0, and memory stays bounded.
    """
    count = desc.numel() // desc.shape[1]
    chunks = torch.split(desc, _CHUNK_ROWS)
    mean = torch.stack([chunk.sum((0, 2, 3), dtype=torch.float64) for chunk in chunks]).sum(0) / count
    squares = [(chunk - mean[:, None, None]).square().sum((0, 2, 3)) for chunk in chunks]
    return mean, (torch.stack(squares).sum(0) / count).sqrt()
