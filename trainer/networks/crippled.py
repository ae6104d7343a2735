"""The deliberately weak pair of networks for counting modes on MNIST [Karras et al. 2018, appendix D].

After Metz et al. 2016: one 3x3 convolution per resolution, batch normalization in both, tanh. They grow like
the others when asked to (the original's `progression`).
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.configuration.config import DiscriminatorConfig, GeneratorConfig
from trainer.networks.layers import (
    LEAKY_SLOPE,
    ScaledConv2d,
    ScaledLinear,
    at_least_float32,
    downscale2d,
    minibatch_stddev,
    upscale2d,
)
from trainer.networks.progressive import (
    Discriminator,
    Generator,
    InputNoise,
    conv3x3,
    feature_maps,
    generator_activation,
    no_noise,
    normalization,
)


class CrippledGenerator(Generator):
    """Latents to 4x4, then upscale and one convolution per resolution; 3x3 toRGB."""

    leaky_slope = 0.3

    def make_block(self, resolution: int) -> nn.Module:
        """Nothing at 4x4, where the dense layer is all."""
        return nn.Identity() if resolution == 4 else CrippledGeneratorBlock(self.config, resolution)

    def make_torgb(self, resolution: int) -> nn.Module:
        """From features to colours: linear."""
        width = feature_maps(self.config, resolution)
        return ScaledConv2d(width, self.config.channels, 3, gain=1.0, use_wscale=self.config.use_wscale)


class CrippledGeneratorBlock(nn.Module):
    """Upscale, one convolution."""

    def __init__(self, config: GeneratorConfig, resolution: int) -> None:
        super().__init__()
        self.config = config
        width = feature_maps(config, resolution)
        self.conv = conv3x3(config, feature_maps(config, resolution // 2), width)
        self.norm = normalization(config, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, r/2, r/2]` -> `[N, width, r, r]`."""
        x = self.norm(self.conv(upscale2d(x)))
        return generator_activation(x, self.config, CrippledGenerator.leaky_slope)


class CrippledDiscriminator(Discriminator):
    """One convolution each at 32x32, 16x16 and 8x8, then a dense layer on 4x4.

    The first convolution of the current resolution reads the colours and takes the place of `fromrgb`.
    """

    def make_fromrgb(self, resolution: int) -> nn.Module:
        """The first convolution, 3x3."""
        width = self.width(resolution)
        return nn.Sequential(
            conv3x3(self.config, self.config.channels, width), normalization(self.config, width)
        )

    def make_block(self, resolution: int) -> nn.Module:
        """Pooling, and the convolution of the next lower resolution."""
        if resolution == 4:
            return CrippledLastBlock(self.config, self.width(4))
        next_width = self.width(resolution // 2) if resolution > 8 else None
        return CrippledDiscriminatorBlock(self.config, self.width(resolution), next_width)

    def width(self, resolution: int) -> int:
        """Feature maps at a resolution; 4x4 has no convolution, so it keeps those of 8x8."""
        return feature_maps(self.config, max(resolution, 8))


class CrippledDiscriminatorBlock(nn.Module):
    """Downscale, one convolution to `next_width` feature maps if there is one."""

    def __init__(self, config: DiscriminatorConfig, width: int, next_width: int | None) -> None:
        super().__init__()
        self.layers = None
        if next_width is not None:
            self.layers = nn.Sequential(conv3x3(config, width, next_width), normalization(config, next_width))

    def forward(self, x: Tensor, noise: InputNoise = no_noise) -> Tensor:
        """`[N, width, r, r]` -> `[N, next width, r/2, r/2]`."""
        x = downscale2d(x)
        return x if self.layers is None else F.leaky_relu(self.layers(noise(x)), LEAKY_SLOPE)


class CrippledLastBlock(nn.Module):
    """Minibatch standard deviation if asked for, one dense layer."""

    def __init__(self, config: DiscriminatorConfig, width: int) -> None:
        super().__init__()
        self.config = config
        maps = width if config.mbstd_group_size == 0 else width + 1
        self.dense = ScaledLinear(maps * 16, 1 + config.label_size, gain=1.0, use_wscale=config.use_wscale)

    def forward(self, x: Tensor, noise: InputNoise = no_noise) -> Tensor:
        """`[N, C, 4, 4]` -> `[N, 1 + label_size]`."""
        if self.config.mbstd_group_size != 0:
            x = minibatch_stddev(x, self.config.mbstd_group_size)
        with torch.autocast(x.device.type, enabled=False):
            return cast(Tensor, self.dense(at_least_float32(x).flatten(1)))
