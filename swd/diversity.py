"""How alike the images of one set are: MS-SSIM over random pairs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from celebahq.errors import ToolError
from swd.method.msssim import ms_ssim
from swd.method.protocol import Protocol
from swd.method.randomness import image_pairs
from swd.method.threads import in_threads
from swd.pipeline.extraction import in_batches
from swd.pipeline.resources import Resources
from swd.pipeline.sources import ImageSet

MAX_PAIRS = 10_000
"""As published."""

# Of images, each left out once for the standard error.
_GROUPS = 16


@dataclass(frozen=True)
class Similarity:
    """Mean MS-SSIM between the images of a set; the lower, the more they vary."""

    value: float
    se: float | None
    """Standard error due to the choice of images; None for two images."""
    pairs: int


def measure_diversity(
    images: ImageSet, protocol: Protocol, resources: Resources, *, set_id: int, stage: str
) -> Similarity:
    """Compare random pairs of the images that a comparison uses.

    Args:
        images: The set.
        protocol: Which images, at which resolution.
        resources: Device, threads and processes.
        set_id: `REALS` or `FAKES`.
        stage: Name in the progress report.

    Raises:
        ToolError: There is only one image.
        FormatError: An image is damaged.

    Source: Karras et al. 2018, section 6.1; Odena et al. 2017.
    """
    chosen = protocol.choose(len(images), set_id)
    if len(chosen) < 2:
        raise ToolError(images.name, "one image, but MS-SSIM compares pairs")
    pairs = image_pairs(len(chosen), MAX_PAIRS, seed=protocol.seed, set_id=set_id)

    def score(batch: Sequence[int]) -> Tensor:
        sides = [
            images.read([chosen[i] for i in side], protocol.resolution) for side in pairs[batch].T.tolist()
        ]
        first, second = (torch.from_numpy(side).to(resources.device) for side in sides)
        return ms_ssim(first, second)

    values = torch.zeros(len(pairs), dtype=torch.float64)
    mine = resources.world.deal(len(pairs))
    batches = in_batches(mine, protocol.resolution)
    with resources.progress(stage, len(mine), "pairs") as advance:
        for batch, scores in zip(batches, in_threads(score, batches, resources.workers), strict=True):
            values[batch] = scores.cpu()
            advance(len(batch))
    values = resources.world.sum(values)
    return Similarity(float(values.mean()), _standard_error(values, pairs, len(chosen)), len(pairs))


def _standard_error(values: Tensor, pairs: Tensor, images: int) -> float | None:
    """Delete-a-group jackknife over images: a pair is left out with either of them.

    Conservative, by up to sqrt(2), where an image is in few pairs.
    """
    if images < 3:
        return None
    groups = min(_GROUPS, images)
    members = pairs % groups
    left_out = torch.stack([values[(members != group).all(dim=1)].mean() for group in range(groups)])
    return math.sqrt((groups - 1) * float(left_out.var(correction=0)))
