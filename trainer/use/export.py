"""The averaged generator for other programs."""

import warnings
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from celebahq.errors import ToolError
from celebahq.files import atomic_path, refuse_existing
from trainer.use.snapshot import Snapshot


class FixedLod(nn.Module):
    """The generator at one level of detail: latents (and labels) to images."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.generator, self.lod = snapshot.generator, snapshot.lod

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """`[N, latent_size]` to `[N, C, r, r]` float32, -1 .. 1."""
        images: Tensor = self.generator(latents, labels, self.lod)
        return images


def export_generator(snapshot: Snapshot, out: Path) -> None:
    """Write safetensors (the weights alone) or TorchScript, by the ending of the name.

    Raises:
        ToolError: `out` exists, or has another ending than .safetensors and .pt.
    """
    refuse_existing(out)
    if out.suffix == ".safetensors":
        with atomic_path(out) as partial:
            partial.write_bytes(save(snapshot.generator.state_dict()))
    elif out.suffix == ".pt":
        inputs = [snapshot.latents(0, range(2)), snapshot.labels(0, range(2))]
        given = tuple(tensor for tensor in inputs if tensor is not None)
        with warnings.catch_warnings(), atomic_path(out) as partial:
            # PyTorch advises torch.export instead, whose files need this package to be loaded.
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.trace(FixedLod(snapshot), given).save(str(partial))  # type: ignore[no-untyped-call]
    else:
        raise ToolError(f"{out}: the ending must be .safetensors (weights) or .pt (TorchScript)")
