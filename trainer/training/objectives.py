"""What is computed on one chunk of a minibatch: fakes, D's loss, the gradient penalty, G's loss."""

import contextlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from trainer.configuration.config import TrainingConfig
from trainer.networks.progressive import Discriminator, Generator, InputNoise
from trainer.networks.ready import ready_weights
from trainer.training.augment import Augment, unchanged
from trainer.training.losses import (
    gradient_penalty,
    label_loss,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
    mix_images,
    wgan_discriminator_loss,
    wgan_generator_loss,
)

Fade = float | Tensor


class Objectives:
    """The functions that training differentiates; with `runtime.compile`, each is compiled as a whole.

    Compiling these and not the networks is what keeps the penalty's second derivative right: a compiled
    network cannot be differentiated twice, see `losses.gradient_penalty`.
    """

    def __init__(self, config: TrainingConfig, G: Generator, D: Discriminator, device: torch.device) -> None:
        self.config, self.G, self.D, self.device = config, G, D, device

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 for convolutions and matrix products, if the run asks for it."""
        if self.config.runtime.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def ready(self, network: nn.Module, resolution: int) -> AbstractContextManager[Callable[[], None]]:
        """Weights rounded once for all uses inside; compiled functions do that themselves."""
        if self.config.runtime.precision == "bf16" and not self.config.runtime.compile:
            return ready_weights(network, resolution, torch.bfloat16)
        return contextlib.nullcontext(lambda: None)

    def fakes(self, latents: Tensor, labels: Tensor | None, resolution: int, fade: Fade) -> Tensor:
        """Images for D to judge, `[n, C, r, r]` float32; no gradient reaches G."""
        with torch.no_grad(), self.autocast():
            return self.G.images(latents, labels, resolution, fade).float()

    def discriminator_loss(
        self,
        reals: Tensor,
        labels: Tensor | None,
        fakes: Tensor,
        fake_labels: Tensor | None,
        resolution: int,
        fade: Fade,
        real_noise: InputNoise,
        fake_noise: InputNoise,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """D's loss without the penalty, and the mean scores of reals and fakes; all 0-d."""
        options = self.config.loss
        with self.autocast():
            real_scores, real_logits = self.D.scores(reals, resolution, fade, real_noise)
            fake_scores, fake_logits = self.D.scores(fakes, resolution, fade, fake_noise)
        if options.kind == "wgan-gp":
            loss = wgan_discriminator_loss(real_scores, fake_scores, options.drift)
        else:
            loss = lsgan_discriminator_loss(real_scores, fake_scores)
        if labels is not None and fake_labels is not None:
            terms = label_loss(real_logits, labels) + label_loss(fake_logits, fake_labels)
            loss = loss + options.label_weight * terms
        return loss, real_scores.detach().float().mean(), fake_scores.detach().float().mean()

    def penalty(
        self,
        reals: Tensor,
        fakes: Tensor,
        factors: Tensor,
        resolution: int,
        fade: Fade,
        noise: InputNoise,
    ) -> Tensor:
        """The gradient penalty between reals and fakes, 0-d."""
        options = self.config.loss

        def score(images: Tensor) -> Tensor:
            with self.autocast():
                return self.D.scores(images, resolution, fade, noise)[0].float()

        return gradient_penalty(
            score,
            mix_images(reals, fakes, factors),
            math.log2(self.config.schedule.resolution // resolution),
            options.gp_target,
            options.gp_weight,
            options.gp_norm_at,
        )

    def generator_loss(
        self,
        latents: Tensor,
        labels: Tensor | None,
        resolution: int,
        fade: Fade,
        noise: InputNoise,
        augment: Augment = unchanged,
    ) -> Tensor:
        """G's loss, 0-d."""
        options = self.config.loss
        with self.autocast():
            fakes = augment(self.G.images(latents, labels, resolution, fade))
            scores, logits = self.D.scores(fakes, resolution, fade, noise)
        loss = wgan_generator_loss(scores) if options.kind == "wgan-gp" else lsgan_generator_loss(scores)
        if labels is not None:
            loss = loss + options.label_weight * label_loss(logits, labels)
        return loss
