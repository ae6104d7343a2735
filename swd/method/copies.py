"""Which images of a set are the same: equal pixel for pixel, or mirrored."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from celebahq.randomness import keyed_hash
from swd.method.randomness import PIXELS


@torch.no_grad()
def content_keys(images: Tensor) -> Tensor:
    """A number for each image, equal for equal and for mirrored ones, else different.

    Each pixel times a weight of its own, added up modulo 2^64: that two different images agree by chance is
    as likely as that a random number of 63 bits is 0. The mirrored image's sum is that of mirrored weights.

    Args:
        images: `[N, C, H, W]`, uint8 or floating.

    Returns:
        `[N]` int64, on the CPU.
    """
    words = images if images.dtype == torch.uint8 else images.float().contiguous().view(torch.int32)
    weights = _weights(*images.shape[1:], images.device)
    words = words.to(torch.int64)
    sums = [(words * some).sum((1, 2, 3)) for some in (weights, weights.flip(-1))]
    return torch.minimum(*sums).cpu()


@lru_cache(maxsize=2)
def _weights(channels: int, height: int, width: int, device: torch.device) -> Tensor:
    bits = keyed_hash(PIXELS, np.arange(channels * height * width)).astype(np.int64) | 1
    return torch.from_numpy(bits).view(channels, height, width).to(device)


def cluster(keys: Tensor) -> Tensor:
    """`[N]` keys -> `[N]` int64 from 0 on, equal for equal keys; in an order that means nothing."""
    clusters: Tensor = torch.unique(keys, return_inverse=True)[1]
    return clusters


def count_different(keys: Tensor) -> int:
    """How many different numbers there are among some."""
    return len(set(keys.tolist()))
