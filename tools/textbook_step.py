"""A plain textbook training step of the progressive GAN, to measure the trainer's against.

Written as a tutorial would: float32, each layer a few obvious operations, images fed at the current
resolution, the gradient penalty by `autograd.grad`, PyTorch's Adam. The same layers, widths and losses as
`trainer.Generator` and `trainer.Discriminator` outside of a fade.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.configuration.config import DiscriminatorConfig, GeneratorConfig


def width(config: GeneratorConfig | DiscriminatorConfig, resolution: int) -> int:
    """Feature maps at a resolution."""
    return min(int(config.fmap_base / 2 ** (math.log2(resolution) - 1)), config.fmap_max)


class Scaled(nn.Module):
    """A convolution or dense layer with equalized learning rate."""

    def __init__(self, n_in: int, n_out: int, kernel: int, gain: float = 2**0.5) -> None:
        super().__init__()
        self.kernel = kernel
        shape = (n_out, n_in, kernel, kernel) if kernel else (n_out, n_in)
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.scale = gain / math.sqrt(n_in * max(kernel, 1) ** 2)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the weight, apply it."""
        weight = self.weight * self.scale
        if self.kernel:
            return F.conv2d(x, weight, self.bias, padding=self.kernel // 2)
        return F.linear(x, weight, self.bias)


def pixel_norm(x: Tensor) -> Tensor:
    """Unit mean square over channels."""
    return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)


class TextbookGenerator(nn.Module):
    """G up to one resolution."""

    def __init__(self, config: GeneratorConfig, resolution: int) -> None:
        super().__init__()
        first = width(config, 4)
        self.dense = Scaled(config.latent_size, first * 16, 0, gain=2**0.5 / 4)
        convolutions = [Scaled(first, first, 3)]
        r = 8
        while r <= resolution:
            convolutions += [
                Scaled(width(config, r // 2), width(config, r), 3),
                Scaled(width(config, r), width(config, r), 3),
            ]
            r *= 2
        self.convolutions = nn.ModuleList(convolutions)
        self.to_rgb = Scaled(width(config, resolution), config.channels, 1, gain=1.0)

    def forward(self, z: Tensor) -> Tensor:
        """Latents to images."""
        x = self.dense(pixel_norm(z)).view(len(z), -1, 4, 4)
        x = pixel_norm(F.leaky_relu(x, 0.2))
        for i, convolution in enumerate(self.convolutions):
            if i % 2 == 1:
                x = F.interpolate(x, scale_factor=2)
            x = pixel_norm(F.leaky_relu(convolution(x), 0.2))
        images: Tensor = self.to_rgb(x)
        return images


class TextbookDiscriminator(nn.Module):
    """D up to one resolution; minibatch standard deviation in groups of 4."""

    def __init__(self, config: DiscriminatorConfig, resolution: int) -> None:
        super().__init__()
        self.from_rgb = Scaled(config.channels, width(config, resolution), 1)
        convolutions = []
        r = resolution
        while r > 4:
            convolutions += [
                Scaled(width(config, r), width(config, r), 3),
                Scaled(width(config, r), width(config, r // 2), 3),
            ]
            r //= 2
        self.convolutions = nn.ModuleList(convolutions)
        last = width(config, 4)
        self.conv = Scaled(last + 1, last, 3)
        self.dense0 = Scaled(last * 16, width(config, 2), 0)
        self.dense1 = Scaled(width(config, 2), 1, 0, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Images to scores."""
        x = F.leaky_relu(self.from_rgb(x), 0.2)
        for i, convolution in enumerate(self.convolutions):
            x = F.leaky_relu(convolution(x), 0.2)
            if i % 2 == 1:
                x = F.avg_pool2d(x, 2)
        n, c, h, w = x.shape
        groups = x.view(4, n // 4, c, h, w)
        deviation = torch.sqrt(groups.var(dim=0, correction=0) + 1e-8).mean(dim=(1, 2, 3), keepdim=True)
        x = torch.cat([x, deviation.repeat(4, 1, h, w)], dim=1)
        x = F.leaky_relu(self.conv(x), 0.2)
        scores: Tensor = self.dense1(F.leaky_relu(self.dense0(x.flatten(1)), 0.2))
        return scores


class TextbookStep:
    """One D step and one G step, and the running average."""

    def __init__(
        self, generator: GeneratorConfig, discriminator: DiscriminatorConfig, resolution: int
    ) -> None:
        self.latent_size = generator.latent_size
        self.G = TextbookGenerator(generator, resolution)
        self.D = TextbookDiscriminator(discriminator, resolution)
        self.Gs = TextbookGenerator(generator, resolution)
        self.octaves = math.log2(generator.resolution // resolution)
        self.G_adam = torch.optim.Adam(self.G.parameters(), lr=1e-3, betas=(0.0, 0.99))
        self.D_adam = torch.optim.Adam(self.D.parameters(), lr=1e-3, betas=(0.0, 0.99))

    def __call__(self, reals: Tensor) -> None:
        """`reals`: `[N, C, r, r]`, -1 .. 1."""
        count = len(reals)
        self.D_adam.zero_grad()
        fakes = self.G(torch.randn(count, self.latent_size)).detach()
        real_scores = self.D(reals)
        loss = self.D(fakes).mean() - real_scores.mean() + 0.001 * (real_scores**2).mean()
        mixed = (reals + (fakes - reals) * torch.rand(count, 1, 1, 1)).requires_grad_()
        gradients = torch.autograd.grad(self.D(mixed).sum(), mixed, create_graph=True)[0]
        norms = gradients.flatten(1).norm(dim=1) / 2**self.octaves
        (loss + 10 * ((norms - 1) ** 2).mean()).backward()
        self.D_adam.step()

        with torch.no_grad():
            for average, parameter in zip(self.Gs.parameters(), self.G.parameters(), strict=True):
                average.lerp_(parameter, 0.001)
        self.G_adam.zero_grad()
        (-self.D(self.G(torch.randn(count, self.latent_size))).mean()).backward()
        self.G_adam.step()
