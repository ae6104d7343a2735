"""What `sr4x` is trained for beside small errors: to look like a photo.

Four terms: features as the target's (EfficientNet-lite0), a discriminator that cannot tell it from photos,
as much local contrast as the target, and no pattern that repeats with the grid of the enlargement.
"""

from typing import Any

import torch
from efficientnet import FeatureDistance
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

PIXEL_WEIGHT = 0.05
FEATURE_WEIGHT = 2.0
ADVERSARIAL_WEIGHT = 0.0005
TEXTURE_WEIGHT = 0.07
MESH_WEIGHT = 3.5
DISCRIMINATOR_RATE_FACTOR = 0.5
SHUFFLE_PX = 4
TEXTURE_WINDOW_PX = 12
MESH_WINDOW_CELLS = 5
LUMA = (0.299, 0.587, 0.114)


class Discriminator(nn.Sequential):
    """Strided convolutions with spectral norm (Miyato et al. 2018); one logit per 16 px of the picture."""

    def __init__(self, channels: tuple[int, ...] = (32, 64, 128, 128)) -> None:
        layers: list[nn.Module] = []
        before = 3
        for width in channels:
            layers += [spectral_norm(nn.Conv2d(before, width, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
            layers += [spectral_norm(nn.Conv2d(width, width, 3, padding=1)), nn.LeakyReLU(0.2)]
            before = width
        super().__init__(*layers, spectral_norm(nn.Conv2d(before, 1, 3, padding=1)))


def shifted(images: Tensor, step: int) -> Tensor:
    """Cut 4 px from both sides of `[N, 3, H, W]`, another way at each of 16 steps.

    The 4 px grid of the generator's pixel-shuffle would otherwise always lie the same way on the strides of
    the discriminator and of the features, which are then blind to patterns of that period.
    """
    y, x = step % SHUFFLE_PX, step // SHUFFLE_PX % SHUFFLE_PX
    height, width = (side - SHUFFLE_PX for side in images.shape[-2:])
    return images[..., y : y + height, x : x + width]


def texture_distance(outputs: Tensor, targets: Tensor) -> Tensor:
    """How far local contrast is from the target's, for `[N, 3, H, W]` in 0..1: mean |log ratio|.

    Contrast is the squared difference of neighbouring Y values, averaged over windows of 12 px. Unlike an
    error of pixels it does not prefer a smooth surface where the exact texture cannot be known.
    """

    def contrast(images: Tensor) -> Tensor:
        y = torch.einsum("nchw,c->nhw", images, torch.tensor(LUMA, device=images.device))
        down = (y[:, 1:, :-1] - y[:, :-1, :-1]).square()
        right = (y[:, :-1, 1:] - y[:, :-1, :-1]).square()
        return (functional.avg_pool2d(down + right, TEXTURE_WINDOW_PX, TEXTURE_WINDOW_PX // 2) + 1e-4).log()

    return (contrast(outputs) - contrast(targets)).abs().mean()


def mesh(outputs: Tensor, targets: Tensor) -> Tensor:
    """The part of the error that repeats from one 4 px cell of the pixel-shuffle to the next.

    `[N, 3, H, W]` in 0..1. The error at each of the 16 places in a cell, averaged over 5x5 cells: errors of
    texture cancel there, a pattern that the network draws on any ground does not.
    """
    places = functional.pixel_unshuffle(outputs - targets, SHUFFLE_PX)  # [N,48,H/4,W/4]
    return functional.avg_pool2d(places, MESH_WINDOW_CELLS, MESH_WINDOW_CELLS // 2).abs().mean()


class AdversarialLoss:
    """Relativistic average losses (Jolicoeur-Martineau 2018) and EfficientNet-lite0's feature distance."""

    def __init__(self, device: torch.device, rate: float) -> None:
        self.device, self.rate = device, rate * DISCRIMINATOR_RATE_FACTOR
        self.discriminator = Discriminator().to(device)
        self.optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=self.rate, betas=(0.5, 0.99), fused=True
        )
        self.distance = FeatureDistance(0).to(device)
        for network in (self.discriminator, self.distance):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _logits(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16):
            logits: Tensor = self.discriminator(images * 2 - 1)
        return logits.float()

    def train_discriminator(self, reals: Tensor, fakes: Tensor, factor: float) -> Tensor:
        """One step that tells reals from fakes (in 0..1) at `factor` times the learning rate.

        Gives the logits of the reals from before the step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor
        self.discriminator.requires_grad_(True)
        logits = self._logits(torch.cat([reals, fakes]))
        real, fake = logits.chunk(2)
        loss = functional.softplus(fake.mean() - real).mean() + functional.softplus(fake - real.mean()).mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.discriminator.requires_grad_(False)
        return real.detach()

    def generator_terms(self, reals: Tensor, fakes: Tensor, real: Tensor) -> dict[str, Tensor]:
        """What is added to the pixel loss of the generator, weighted; `real` are the logits of the reals."""
        fake = self._logits(fakes)
        loss = functional.softplus(real - fake.mean()).mean() + functional.softplus(real.mean() - fake).mean()
        with torch.autocast(self.device.type, torch.bfloat16):
            distance = self.distance(fakes, reals)
        return {
            "features": FEATURE_WEIGHT * distance,
            "adversarial": ADVERSARIAL_WEIGHT * loss,
            "texture": TEXTURE_WEIGHT * texture_distance(fakes, reals),
        }

    def state(self) -> dict[str, Any]:
        """Discriminator and its optimizer."""
        return {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
