"""One pass through the networks: the gradients of one chunk of a minibatch."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.networks.progressive import InputNoise, no_noise
from trainer.training.augment import Augment, unchanged
from trainer.training.objectives import Fade, Objectives

Timed = Callable[[str], AbstractContextManager[Any]]


def untimed(part: str) -> AbstractContextManager[Any]:
    """Where nobody asks how long the parts of a step take."""
    return contextlib.nullcontext()


@dataclass(frozen=True)
class DiscriminatorInputs:
    """What a discriminator pass over n images takes."""

    reals: Tensor
    """`[n, C, r, r]`, -1..1."""
    labels: Tensor | None
    """`[n, label_size]`."""
    latents: Tensor
    """`[n, latent_size]`."""
    fake_labels: Tensor | None
    """`[n, label_size]`."""
    mix_factors: Tensor
    """`[n, 1, 1, 1]`, 0..1."""
    real_noise: InputNoise = no_noise
    fake_noise: InputNoise = no_noise
    mixed_noise: InputNoise = no_noise
    augment_reals: Augment = unchanged
    augment_fakes: Augment = unchanged


@dataclass(frozen=True)
class GeneratorInputs:
    """What a generator pass over n images takes."""

    latents: Tensor
    """`[n, latent_size]`."""
    labels: Tensor | None
    """`[n, label_size]`."""
    noise: InputNoise = no_noise
    augment: Augment = unchanged


def discriminator_pass(
    objectives: Objectives,
    inputs: DiscriminatorInputs,
    resolution: int,
    fade: Fade,
    share: float,
    timed: Timed = untimed,
) -> dict[str, Tensor]:
    """Add the gradients of D's loss.

    Args:
        objectives: The functions to differentiate.
        inputs: Images and random numbers.
        resolution: Of the images.
        fade: Weight of the lower resolution.
        share: Weight of this pass in the minibatch.
        timed: Told when the parts "D" and "penalty" begin and end.

    Returns:
        Loss, scores and penalty, 0-d, means over the pass.
    """
    with timed("D"), torch.no_grad(), objectives.ready(objectives.G, resolution):
        fakes = objectives.fakes(inputs.latents, inputs.fake_labels, resolution, fade)
    with objectives.ready(objectives.D, resolution) as between_backwards:
        with timed("D"):
            # The penalty, too, is taken between images as D sees them, and of D alone.
            reals, fakes = inputs.augment_reals(inputs.reals), inputs.augment_fakes(fakes)
            loss, real_score, fake_score = objectives.discriminator_loss(
                reals,
                inputs.labels,
                fakes,
                inputs.fake_labels,
                resolution,
                fade,
                inputs.real_noise,
                inputs.fake_noise,
            )
            torch.autograd.backward(loss * share)
            values = {"loss_D": loss.detach(), "score_real": real_score, "score_fake": fake_score}
            del loss
        between_backwards()
        if objectives.config.loss.kind == "wgan-gp":
            # The penalty's graph is its own: one after the other, the two need less memory.
            with timed("penalty"):
                penalty = objectives.penalty(
                    reals, fakes, inputs.mix_factors, resolution, fade, inputs.mixed_noise
                )
                torch.autograd.backward(penalty * share)
            values["penalty"] = penalty.detach()
            values["loss_D"] = values["loss_D"] + values["penalty"]
    return values


def generator_pass(
    objectives: Objectives, inputs: GeneratorInputs, resolution: int, fade: Fade, share: float
) -> dict[str, Tensor]:
    """Add the gradients of G's loss; arguments as for `discriminator_pass`.

    Returns:
        The loss, 0-d, mean over the pass.
    """
    D = objectives.D
    D.requires_grad_(False)  # D only passes the gradient on
    try:
        with objectives.ready(objectives.G, resolution), objectives.ready(D, resolution):
            loss = objectives.generator_loss(
                inputs.latents, inputs.labels, resolution, fade, inputs.noise, inputs.augment
            )
            torch.autograd.backward(loss * share)
    finally:
        D.requires_grad_(True)
    return {"loss_G": loss.detach()}
