"""FID and inception score through torch-fidelity, where it is installed."""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from celebahq.errors import MissingExtraError
from swd.method.protocol import Protocol
from swd.method.randomness import FAKES, REALS
from swd.pipeline.resources import Resources
from swd.pipeline.sources import ImageSet


@dataclass(frozen=True)
class Fidelity:
    """What torch-fidelity reports; None for what was not asked."""

    fid: float | None = None
    inception_score: float | None = None
    inception_score_std: float | None = None


def require_torch_fidelity() -> Any:
    """The module.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import torch_fidelity
    except ImportError as err:
        raise MissingExtraError("torch-fidelity", "fidelity", "--metrics fid or is") from err
    return torch_fidelity


def measure_fidelity(
    reals: ImageSet | None,
    fakes: ImageSet,
    protocol: Protocol,
    resources: Resources,
    metrics: Sequence[str],
) -> Fidelity:
    """FID between the images that a comparison uses, inception score of the fakes among them.

    Args:
        reals: The real images; they may be missing if only `is` is asked.
        fakes: The generated ones.
        protocol: Which images, at which resolution.
        resources: The device.
        metrics: `fid`, `is` or both.

    Raises:
        MissingExtraError: torch-fidelity is not installed.
    """
    torch_fidelity = require_torch_fidelity()
    # It prints remarks, and stdout carries the result.
    with contextlib.redirect_stdout(sys.stderr):
        found = torch_fidelity.calculate_metrics(
            input1=UsedImages(fakes, protocol, FAKES),
            input2=UsedImages(reals, protocol, REALS) if reals else None,
            cuda=resources.device.type == "cuda",
            fid="fid" in metrics,
            isc="is" in metrics,
            cache=False,
            save_cpu_ram=True,
            verbose=False,
        )
    return Fidelity(
        found.get("frechet_inception_distance"),
        found.get("inception_score_mean"),
        found.get("inception_score_std"),
    )


class UsedImages(Dataset[Tensor]):
    """The images of a set that a comparison uses, as torch-fidelity reads them: `[3, r, r]` uint8."""

    def __init__(self, images: ImageSet, protocol: Protocol, set_id: int) -> None:
        self._images, self._resolution = images, protocol.resolution
        self._chosen = protocol.choose(len(images), set_id)

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, position: int) -> Tensor:
        pixels = self._images.read([self._chosen[position]], self._resolution)[0]
        return torch.from_numpy(pixels).expand(3, -1, -1)
