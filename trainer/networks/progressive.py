"""Generator and discriminator, growing in lockstep [Karras et al. 2018, sections 2-4 and appendix A].

`lod` says how far the networks have grown: 0.0 is the full resolution, 1.0 one octave below. At lod 2.6
resolution R/4 is being faded in, with weight 0.4, on top of R/8. Nothing is computed above R / 2^floor(lod).
"""

import math
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from trainer.configuration.config import DiscriminatorConfig, GeneratorConfig
from trainer.networks.activations import leaky_relu, leaky_relu_and_pixel_norm
from trainer.networks.layers import (
    LEAKY_SLOPE,
    SQRT2,
    LayerNorm,
    MinibatchDiscrimination,
    ScaledConv2d,
    ScaledLinear,
    at_least_float32,
    batch_norm,
    downscale2d,
    minibatch_stddev,
    multiplicative_noise,
    pixel_norm,
    upscale2d,
)


class InputNoise(Protocol):
    """What D's layers do to their inputs."""

    def __call__(self, x: Tensor, start: int) -> Tensor:
        """Args: `x` is `[N, C, H, W]`; `start` counts the feature maps of the layers before this one."""


def no_noise(x: Tensor, start: int) -> Tensor:
    """The usual case: D's layers see their inputs as they are."""
    return x


def feature_maps(config: GeneratorConfig | DiscriminatorConfig, resolution: int) -> int:
    """Width of the layers at a resolution; D's last convolution there has that of half the resolution."""
    stage = int(math.log2(resolution)) - 1
    return min(int(config.fmap_base / 2 ** (stage * config.fmap_decay)), config.fmap_max)


def resolutions_up_to(resolution: int) -> list[int]:
    """4, 8, ... `resolution`."""
    return [1 << power for power in range(2, int(math.log2(resolution)) + 1)]


def resolution_of(name: str) -> int:
    """The resolution that a parameter's layer belongs to, by its name; 4 for those before all blocks."""
    return max((int(part) for part in name.split(".") if part.isdecimal()), default=4)


def split_lod(lod: float, resolution: int) -> tuple[int, float]:
    """The current resolution, and how much of the lower one is still blended in (0 to 1).

    Raises:
        ValueError: `lod` is negative or would go below 4x4.
    """
    if not 0 <= lod <= math.log2(resolution / 4):
        highest = math.log2(resolution / 4)
        raise ValueError(f"lod {lod}: must be between 0 and {highest:g} for {resolution}x{resolution}")
    octaves = math.floor(lod)
    return resolution >> octaves, lod - octaves


class Generator(nn.Module):
    """G: latents to images.

    `state_dict` keys: `dense.*`, `blocks.4.conv.*`, `blocks.R.conv0.*`, `blocks.R.conv1.*`, `torgb.R.*`, and
    with batch normalization `norm.*`, `blocks.4.norm.*`, `blocks.R.norm0.*`, `blocks.R.norm1.*`.
    """

    leaky_slope = LEAKY_SLOPE

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        width = feature_maps(config, 4)
        # sqrt(2)/4: the original built this layer as a 4x4 convolution, with 16 times the fan-in.
        self.dense = ScaledLinear(
            config.latent_size + config.label_size,
            width * 16,
            per_map=16,
            gain=SQRT2 / 4,
            use_wscale=config.use_wscale,
            bias=not has_normalization(config),
        )
        self.norm = normalization(config, width)
        self.blocks, self.torgb = nn.ModuleDict(), nn.ModuleDict()
        for resolution in resolutions_up_to(config.resolution):
            self.blocks[str(resolution)] = self.make_block(resolution)
            self.torgb[str(resolution)] = self.make_torgb(resolution)

    def make_block(self, resolution: int) -> nn.Module:
        """The layers that a resolution adds."""
        if resolution == 4:
            return FirstGeneratorBlock(self.config)
        return GeneratorBlock(self.config, resolution)

    def make_torgb(self, resolution: int) -> nn.Module:
        """From features to colours: linear."""
        width = feature_maps(self.config, resolution)
        return ScaledConv2d(width, self.config.channels, 1, gain=1.0, use_wscale=self.config.use_wscale)

    def forward(self, latents: Tensor, labels: Tensor | None = None, lod: float = 0.0) -> Tensor:
        """Generate images.

        Args:
            latents: `[N, latent_size]` from N(0, 1).
            labels: `[N, label_size]`, for networks with labels.
            lod: 0 to log2(resolution / 4).

        Returns:
            `[N, channels, r, r]` with r = resolution / 2^floor(lod), about -1..1 for trained networks.

        Raises:
            ValueError: Labels missing, not expected or of the wrong size; `lod` out of range.
        """
        resolution, fade = split_lod(lod, self.config.resolution)
        return self.images(latents, labels, resolution, fade)

    def images(self, latents: Tensor, labels: Tensor | None, resolution: int, fade: float | Tensor) -> Tensor:
        """`forward` with the level of detail taken apart, as a compiled function wants it.

        Args:
            latents: `[N, latent_size]`.
            labels: `[N, label_size]` or None.
            resolution: Of the images.
            fade: Weight of the lower resolution; a tensor changes without a new compilation.
        """
        x = self.first_features(latents, labels)  # [N, C, 4, 4]
        for r in resolutions_up_to(resolution):
            lower = x
            x = self.blocks[str(r)](x)  # [N, C, r, r]
        images = self.torgb[str(resolution)](x)
        if is_fading(fade):
            images = blend(images, upscale2d(self.torgb[str(resolution // 2)](lower)), fade)
        return torch.tanh(images) if self.config.use_tanh else images

    def first_features(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Latents and labels to `[N, C, 4, 4]`."""
        x = join_labels(latents, labels, self.config.label_size)
        if self.config.normalize_latents:
            x = pixel_norm(x)
        x = self.norm(self.dense(x).unflatten(1, (-1, 4, 4)))
        return generator_activation(x, self.config, self.leaky_slope)


class FirstGeneratorBlock(nn.Module):
    """4x4: one convolution."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        width = feature_maps(config, 4)
        self.conv = conv3x3(config, width, width)
        self.norm = normalization(config, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, 4, 4]`, the same shape out."""
        return generator_activation(self.norm(self.conv(x)), self.config)


class GeneratorBlock(nn.Module):
    """Upscale, two convolutions."""

    def __init__(self, config: GeneratorConfig, resolution: int) -> None:
        super().__init__()
        self.config = config
        width = feature_maps(config, resolution)
        fused: Literal["", "up"] = "up" if config.fused_scale else ""
        self.conv0 = conv3x3(config, feature_maps(config, resolution // 2), width, fused)
        self.norm0 = normalization(config, width)
        self.conv1 = conv3x3(config, width, width)
        self.norm1 = normalization(config, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, r/2, r/2]` -> `[N, width, r, r]`."""
        x = self.conv0(x if self.config.fused_scale else upscale2d(x))
        x = generator_activation(self.norm0(x), self.config)
        return generator_activation(self.norm1(self.conv1(x)), self.config)


class Discriminator(nn.Module):
    """D: images to scores.

    `state_dict` keys: `fromrgb.R.*`, `blocks.R.conv0.*`, `blocks.R.conv1.*`, `blocks.4.conv.*`,
    `blocks.4.dense0.*`, `blocks.4.dense1.*`, and with normalization `blocks.R.norm0.*`, `blocks.R.norm1.*`;
    minibatch discrimination is `blocks.4.mbdisc.*`.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.fromrgb, self.blocks = nn.ModuleDict(), nn.ModuleDict()
        for resolution in resolutions_up_to(config.resolution):
            self.fromrgb[str(resolution)] = self.make_fromrgb(resolution)
            self.blocks[str(resolution)] = self.make_block(resolution)

    def noise_maps(self, resolution: int) -> int:
        """Feature maps that multiplicative noise reaches, over all layers up to a resolution."""
        return sum(self.block_noise_maps(r) for r in resolutions_up_to(resolution))

    def block_noise_maps(self, resolution: int) -> int:
        """The same of one block: the inputs of its two layers."""
        statistics = resolution == 4 and self.config.mbstd_group_size != 0
        return 2 * feature_maps(self.config, resolution) + int(statistics)

    def make_fromrgb(self, resolution: int) -> nn.Module:
        """From colours to features, without the activation."""
        width = feature_maps(self.config, resolution)
        return ScaledConv2d(self.config.channels, width, 1, use_wscale=self.config.use_wscale)

    def make_block(self, resolution: int) -> nn.Module:
        """The layers that a resolution adds."""
        if resolution == 4:
            return LastDiscriminatorBlock(self.config)
        return DiscriminatorBlock(self.config, resolution)

    def forward(
        self,
        images: Tensor,
        lod: float = 0.0,
        *,
        gdrop_strength: float = 0.0,
        gdrop_rng: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Judge images.

        Args:
            images: `[N, channels, r, r]` with r = resolution / 2^floor(lod), -1..1.
            lod: 0 to log2(resolution / 4).
            gdrop_strength: Of the multiplicative noise before every convolution but the 1x1 ones.
            gdrop_rng: Source of that noise, on the images' device.

        Returns:
            Scores `[N, 1]`, higher for images that look real, and label logits `[N, label_size]`.

        Raises:
            ValueError: The images do not have the size that `lod` asks for; `lod` out of range.
        """
        resolution, fade = split_lod(lod, self.config.resolution)
        if images.shape[-2:] != (resolution, resolution):
            height, width = images.shape[-2:]
            raise ValueError(f"images: {width}x{height} pixels, but lod {lod:g} is {resolution}x{resolution}")
        noise: InputNoise = no_noise
        if gdrop_strength:
            shape = (len(images), self.noise_maps(resolution))
            noise = input_noise(gdrop_strength, torch.randn(shape, generator=gdrop_rng, device=images.device))
        return self.scores(images, resolution, fade, noise)

    def scores(
        self, images: Tensor, resolution: int, fade: float | Tensor, noise: InputNoise = no_noise
    ) -> tuple[Tensor, Tensor]:
        """`forward` with the level of detail taken apart; see `Generator.images`."""
        x = self.features(images, resolution, fade, noise)  # [N, C, 4, 4]
        outputs = self.blocks["4"](x, noise)  # [N, 1 + label_size]
        return outputs[:, :1], outputs[:, 1:]

    def features(
        self, images: Tensor, resolution: int, fade: float | Tensor, noise: InputNoise = no_noise
    ) -> Tensor:
        """Images to `[N, C, 4, 4]`."""
        x = self.from_rgb(images, resolution)
        for r in reversed(resolutions_up_to(resolution)[1:]):
            x = self.blocks[str(r)](x, skip_maps(noise, self.noise_maps(r // 2)))
            if r == resolution and is_fading(fade):
                x = blend(x, self.from_rgb(downscale2d(images), r // 2), fade)
        return x

    def from_rgb(self, images: Tensor, resolution: int) -> Tensor:
        """Images `[N, channels, r, r]` to features `[N, width, r, r]`."""
        return leaky_relu(self.fromrgb[str(resolution)](images), LEAKY_SLOPE)

    @torch.no_grad()
    def initialize_from_reals(self, reals: Tensor, lod: float) -> None:
        """Set what depends on data before training starts: minibatch discrimination, if there is any.

        Args:
            reals: `[N, channels, r, r]`; the original takes 500 images at the first level of detail.
            lod: As in `forward`.
        """
        last = self.blocks["4"]
        if isinstance(last, LastDiscriminatorBlock) and last.mbdisc is not None:
            resolution, fade = split_lod(lod, self.config.resolution)
            last.mbdisc.initialize(last.dense_features(self.features(reals, resolution, fade)))


class DiscriminatorBlock(nn.Module):
    """Two convolutions, downscale."""

    def __init__(self, config: DiscriminatorConfig, resolution: int) -> None:
        super().__init__()
        self.config = config
        width, next_width = feature_maps(config, resolution), feature_maps(config, resolution // 2)
        self.conv0 = conv3x3(config, width, width)
        self.norm0 = normalization(config, width)
        fused: Literal["", "down"] = "down" if config.fused_scale else ""
        self.conv1 = conv3x3(config, width, next_width, fused)
        self.norm1 = normalization(config, next_width)

    def forward(self, x: Tensor, noise: InputNoise = no_noise) -> Tensor:
        """`[N, width, r, r]` -> `[N, next width, r/2, r/2]`."""
        width = x.shape[1]
        x = leaky_relu(self.norm0(self.conv0(noise(x, 0))), LEAKY_SLOPE)
        x = noise(x, width)
        if self.config.fused_scale:  # activation after pooling: not the same function
            return leaky_relu(self.norm1(self.conv1(x)), LEAKY_SLOPE)
        return downscale2d(leaky_relu(self.norm1(self.conv1(x)), LEAKY_SLOPE))


class LastDiscriminatorBlock(nn.Module):
    """4x4: minibatch statistics, one convolution, two dense layers."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        width, last_width = feature_maps(config, 4), feature_maps(config, 2)
        statistics = 0 if config.mbstd_group_size == 0 else 1
        self.conv = conv3x3(config, width + statistics, width)
        self.norm = normalization(config, width)
        self.dense0 = ScaledLinear(
            width * 16, last_width, use_wscale=config.use_wscale, bias=not has_normalization(config)
        )
        self.norm_dense0 = normalization(config, last_width)
        kernels = config.mbdisc_kernels
        self.mbdisc = MinibatchDiscrimination(last_width, kernels) if kernels else None
        self.dense1 = ScaledLinear(
            last_width + kernels, 1 + config.label_size, gain=1.0, use_wscale=config.use_wscale
        )

    def forward(self, x: Tensor, noise: InputNoise = no_noise) -> Tensor:
        """`[N, C, 4, 4]` -> `[N, 1 + label_size]`."""
        x = self.dense_features(x, noise)
        if self.mbdisc is not None:
            x = self.mbdisc(x)
        with torch.autocast(x.device.type, enabled=False):  # scores are differences of large numbers
            return cast(Tensor, self.dense1(at_least_float32(x)))

    def dense_features(self, x: Tensor, noise: InputNoise = no_noise) -> Tensor:
        """`[N, C, 4, 4]` -> `[N, width]`, the input of the last layer."""
        if self.config.mbstd_group_size != 0:
            x = minibatch_stddev(x, self.config.mbstd_group_size)
        width = x.shape[1]
        x = leaky_relu(self.norm(self.conv(noise(x, 0))), LEAKY_SLOPE)
        x = self.dense0(noise(x, width).flatten(1))[:, :, None, None]  # a 4x4 convolution without padding
        return leaky_relu(self.norm_dense0(x), LEAKY_SLOPE).flatten(1)


def join_labels(latents: Tensor, labels: Tensor | None, label_size: int) -> Tensor:
    """Latents and labels side by side.

    Raises:
        ValueError: Labels missing, not expected or of the wrong size.
    """
    given = 0 if labels is None else labels.shape[1]
    if given != label_size:
        raise ValueError(f"labels: {given} numbers per image, but the network takes {label_size}")
    return latents if labels is None else torch.cat([latents, labels.to(latents.dtype)], dim=1)


def generator_activation(x: Tensor, config: GeneratorConfig, slope: float = LEAKY_SLOPE) -> Tensor:
    """What follows each convolution of G: (leaky) ReLU, then pixelwise normalization."""
    slope = slope if config.use_leakyrelu else 0.0
    half = torch.finfo(x.dtype).bits == 16
    if half and config.use_pixelnorm and not torch.compiler.is_compiling():
        return leaky_relu_and_pixel_norm(x, slope)
    x = leaky_relu(x, slope) if config.use_leakyrelu else torch.relu(x)
    return pixel_norm(x) if config.use_pixelnorm else x


def normalization(config: GeneratorConfig | DiscriminatorConfig, width: int) -> nn.Module:
    """What stands between a convolution and its activation; it brings its own bias."""
    if config.use_batchnorm:
        return batch_norm(width, keep_statistics=isinstance(config, GeneratorConfig))
    if isinstance(config, DiscriminatorConfig) and config.use_layernorm:
        return LayerNorm(width)
    return nn.Identity()


def input_noise(strength: float, draws: Tensor) -> InputNoise:
    """Multiplicative noise: each layer takes the columns of its own feature maps.

    Args:
        strength: See `layers.multiplicative_noise`.
        draws: `[N, D.noise_maps(resolution)]` from N(0, 1).
    """

    def add_noise(x: Tensor, start: int) -> Tensor:
        return multiplicative_noise(x, strength, draws[:, start : start + x.shape[1]])

    return add_noise


def skip_maps(noise: InputNoise, maps: int) -> InputNoise:
    """The noise of layers that come behind others with so many feature maps."""
    return lambda x, start: noise(x, maps + start)


def is_fading(fade: float | Tensor) -> bool:
    """Whether the lower resolution has to be computed at all; for a tensor, always."""
    return isinstance(fade, Tensor) or fade > 0


def blend(x: Tensor, lower: Tensor, fade: float | Tensor) -> Tensor:
    """(1 - fade) * x + fade * lower."""
    return x + (lower - x) * fade


def has_normalization(config: GeneratorConfig | DiscriminatorConfig) -> bool:
    """Whether `normalization` adds a bias, so that the convolution before it has none."""
    return config.use_batchnorm or (isinstance(config, DiscriminatorConfig) and config.use_layernorm)


def conv3x3(
    config: GeneratorConfig | DiscriminatorConfig,
    in_channels: int,
    out_channels: int,
    fused: Literal["", "up", "down"] = "",
) -> ScaledConv2d:
    """A convolution as all blocks have it."""
    bias = not has_normalization(config)
    return ScaledConv2d(in_channels, out_channels, 3, use_wscale=config.use_wscale, bias=bias, fused=fused)
