"""Kernels and memory traffic of a training step on a GPU, counted without one.

    python tools/count_step.py --preset celebahq-1024 --resolution 1024 --set runtime.precision=bf16

A D pass and a G pass run on a CUDA device that has no numbers (`fake_cuda`). Every operation that computes
counts as one kernel, and reads its inputs and writes its results once. Libraries may use more kernels for a
convolution, and caches may save some of the traffic: the count compares programs, it does not predict time.
"""

import json
import math
from collections import Counter
from typing import Any

import click
import torch
from fake_cuda import CUDA, fake_cuda, leave
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from trainer.configuration.presets import preset
from trainer.configuration.settings import override
from trainer.training.objectives import Objectives
from trainer.training.passes import DiscriminatorInputs, GeneratorInputs, discriminator_pass, generator_pass
from trainer.training.state import new_state

ONLY_MEMORY = ("empty", "new_empty", "detach", "alias", "_unsafe_view", "_reshape_alias", "lift")


class KernelCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations on the device and their bytes, by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels: Counter[str] = Counter()
        self.traffic: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it, unless it only makes a view or takes memory."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        tensors = [v for v in tree_iter((args, kwargs, result)) if isinstance(v, Tensor)]
        if tensors and func.namespace == "aten" and not func.is_view and not name.startswith(ONLY_MEMORY):
            self.kernels[name] += 1
            self.traffic[name] += sum(map(distinct_bytes, tensors))
        return result


def distinct_bytes(tensor: Tensor) -> int:
    """Of the numbers that are really there: an expanded tensor repeats some."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(size for size, stride in sizes if stride) * tensor.element_size()


@click.command(help=__doc__)
@click.option("--preset", "name", default="celebahq-1024", show_default=True, metavar="NAME")
@click.option("--set", "changes", multiple=True, metavar="A.B=C")
@click.option("--resolution", default=1024, show_default=True)
@click.option("--images", default=4, show_default=True, help="Of a pass.")
@click.option("--rows", default=12, show_default=True, help="Operations that are listed.")
def main(name: str, changes: tuple[str, ...], resolution: int, images: int, rows: int) -> None:
    """Print one JSON object."""
    config = override(preset(name), changes)
    with fake_cuda():
        state = new_state(config, CUDA)
        objectives = Objectives(config, state.G, state.D, CUDA)
        reals = torch.empty(images, config.generator.channels, resolution, resolution, device=CUDA)
        latents = torch.empty(images, config.generator.latent_size, device=CUDA)
        labels = torch.empty(images, config.generator.label_size, device=CUDA)
        given = labels if config.generator.label_size else None
        mix_factors = torch.empty(images, 1, 1, 1, device=CUDA)
        with KernelCounter() as counter:
            inputs = DiscriminatorInputs(reals, given, latents, given, mix_factors)
            discriminator_pass(objectives, inputs, resolution, 0.0, 1.0)
            generator_pass(objectives, GeneratorInputs(latents, given), resolution, 0.0, 1.0)
    gigabytes = {key: value / images / 1e9 for key, value in counter.traffic.most_common()}
    largest = {key: {"kernels": counter.kernels[key], "GB": gigabytes[key]} for key in list(gigabytes)[:rows]}
    total = {"kernels": counter.kernels.total(), "GB per image": sum(gigabytes.values())}
    click.echo(json.dumps({**total, "largest": largest}, indent=2))
    leave()


if __name__ == "__main__":
    main()
