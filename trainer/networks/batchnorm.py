"""Fixed statistics for generators that were trained with batch normalization."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from trainer.networks.progressive import Generator


@torch.no_grad()
def freeze_batch_statistics(
    generator: Generator, minibatches: Iterable[tuple[Tensor, Tensor | None]], lod: float
) -> None:
    """Replace the running statistics of every batch normalization by averages over given latents.

    In training each minibatch is normalized by itself, and the original also generated so; then an image
    depends on those beside it. With these averages `generator.eval()` makes the same image from the same
    latent in any company. Without batch normalization nothing happens.

    Args:
        generator: Left in eval mode.
        minibatches: Latents and labels, `[N, latent_size]` and `[N, label_size]` or None.
        lod: Level of detail.
    """
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    if norms:
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over what follows
        generator.train()
        for latents, labels in minibatches:
            generator(latents, labels, lod)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    generator.eval()
