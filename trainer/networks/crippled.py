"""The deliberately weak pair of networks for counting modes on MNIST [Karras et al. 2018, appendix D].

After Metz et al. 2016: one 3x3 convolution per resolution, batch normalization in both, tanh. They grow like
the others when asked to (the original's `progression`).
"""

from typing import cast

import torch
from torch import Tensor, nn

from trainer.configuration.config import DiscriminatorConfig, GeneratorConfig
from trainer.networks.activations import leaky_relu
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

    The convolutions keep their place while the networks grow: images at the full resolution go straight into
    the first one, those of a lower resolution enter behind it, through a 1x1 `fromrgb` of their own.

    `state_dict` keys: `fromrgb.R.*` below the full resolution, `blocks.R.conv.*`, `blocks.R.norm.*`,
    `blocks.4.dense.*`.
    """

    def make_fromrgb(self, resolution: int) -> nn.Module:
        """From colours to what the convolution one octave above gives; nothing at the full resolution."""
        if resolution == self.config.resolution:
            return nn.Identity()
        width = feature_maps(self.config, resolution * 2)
        return ScaledConv2d(self.config.channels, width, 1, use_wscale=self.config.use_wscale)

    def make_block(self, resolution: int) -> nn.Module:
        """One convolution; none at 4x4."""
        if resolution == 4:
            return CrippledLastBlock(self.config, feature_maps(self.config, 8))
        width = feature_maps(self.config, resolution)
        return CrippledDiscriminatorBlock(self.config, self.block_noise_maps(resolution), width)

    def block_noise_maps(self, resolution: int) -> int:
        """Feature maps of the convolution's input; 0 where there is none."""
        if resolution == 4:
            return 0
        full = resolution == self.config.resolution
        return self.config.channels if full else feature_maps(self.config, resolution * 2)

    def from_rgb(self, images: Tensor, resolution: int) -> Tensor:
        """Images as the blocks of a resolution want them."""
        return images if resolution == self.config.resolution else super().from_rgb(images, resolution)


class CrippledDiscriminatorBlock(nn.Module):
    """One convolution, downscale."""

    def __init__(self, config: DiscriminatorConfig, in_width: int, width: int) -> None:
        super().__init__()
        self.conv = conv3x3(config, in_width, width)
        self.norm = normalization(config, width)

    def forward(self, x: Tensor, noise: InputNoise = no_noise) -> Tensor:
        """`[N, in width, r, r]` -> `[N, width, r/2, r/2]`."""
        return downscale2d(leaky_relu(self.norm(self.conv(noise(x, 0))), LEAKY_SLOPE))


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
