"""The layers of both networks: weights scaled at run time, resampling, and the normalizations.

Statistics are computed in float32 also where autocast runs the convolutions in bfloat16.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SQRT2 = math.sqrt(2.0)
LEAKY_SLOPE = 0.2


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def upscale2d(images: Tensor) -> Tensor:
    """Twice the size by repeating each pixel: `[N, C, H, W]` -> `[N, C, 2H, 2W]`."""
    return F.interpolate(images, scale_factor=2, mode="nearest")


def downscale2d(images: Tensor) -> Tensor:
    """Half the size by averaging 2x2 pixels: `[N, C, 2H, 2W]` -> `[N, C, H, W]`."""
    return F.avg_pool2d(images, 2)


def pixel_norm(x: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Normalize the feature vector of each pixel, or a latent vector, to unit mean square.

    Args:
        x: `[N, C, ...]`.
        epsilon: Added to the mean square.

    Source: Karras et al. 2018, section 4.2.
    """
    mean_square = at_least_float32(x).square().mean(dim=1, keepdim=True)
    return x / torch.sqrt(mean_square + epsilon).to(x.dtype)


def minibatch_stddev(x: Tensor, group_size: int | Literal["all"]) -> Tensor:
    """Append one feature map that holds the average standard deviation over the images of a group.

    Args:
        x: `[N, C, H, W]`.
        group_size: Images per group, N at most. N / group_size groups are formed; image n belongs to group
            n mod (N / group_size), as in the original.

    Returns:
        `[N, C + 1, H, W]`.

    Raises:
        ValueError: N is not a multiple of the group size.

    Source: Karras et al. 2018, section 3; the paper's group is the whole minibatch.
    """
    count, channels, height, width = x.shape
    group = count if group_size == "all" else min(group_size, count)
    if count % group:
        raise ValueError(f"x: {count} images cannot be divided into groups of {group}")
    members = at_least_float32(x).reshape(group, count // group, channels, height, width)
    variance = (members - members.mean(dim=0)).square().mean(dim=0)  # [N/G, C, H, W]
    stddev = torch.sqrt(variance + 1e-8).mean(dim=(1, 2, 3))  # [N/G]
    feature_map = stddev.to(x.dtype).repeat(group).reshape(count, 1, 1, 1).expand(-1, -1, height, width)
    return torch.cat([x, feature_map], dim=1)


def multiplicative_noise(x: Tensor, strength: float, noise: Tensor) -> Tensor:
    """Multiply each feature map by 1 + strength * sqrt(C) * noise.

    Args:
        x: `[N, C, H, W]`.
        strength: 0 leaves x as it is.
        noise: `[N, C]` from N(0, 1).

    Source: Karras et al. 2018, appendix B.
    """
    scale = 1.0 + strength * math.sqrt(x.shape[1]) * noise
    return x * scale.to(x.dtype)[:, :, None, None]


class ScaledLayer(nn.Module):
    """A weight with equalized learning rate and a bias.

    The stored weight is drawn from N(0, 1) and multiplied by gain / sqrt(fan_in) whenever it is used, so that
    Adam's steps are equally large relative to every weight. Without `use_wscale` the factor is applied to
    the initial draw instead.

    Source: Karras et al. 2018, section 4.1; gains of He et al. 2015.
    """

    def __init__(
        self, shape: tuple[int, ...], biases: int, fan_in: int, gain: float, *, use_wscale: bool
    ) -> None:
        super().__init__()
        stddev = gain / math.sqrt(fan_in)
        self.scale = stddev if use_wscale else 1.0
        self.weight = nn.Parameter(torch.randn(shape) * (1.0 if use_wscale else stddev))
        self.bias = nn.Parameter(torch.zeros(biases)) if biases else None

        self.ready: tuple[Tensor, Tensor | None] | None = None
        """Kernel and bias that autocast finds instead; see `ready.ready_weights`."""

    def scaled_weight(self) -> Tensor:
        """The weight as it counts."""
        return self.weight * self.scale if self.scale != 1.0 else self.weight

    def kernel_of(self, scaled: Tensor) -> Tensor:
        """What inputs meet."""
        return scaled

    def kernel_and_bias(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """For inputs like x; in full precision where autocast is off."""
        if self.ready is not None and torch.is_autocast_enabled(x.device.type):
            return self.ready
        return self.kernel_of(self.scaled_weight()), self.bias


class ScaledConv2d(ScaledLayer):
    """Convolution with zero padding.

    With `fused` it is, for a 3x3 kernel, one convolution with the upscaling before it ("up") or the
    downscaling after it ("down"). Convolving repeated pixels, or averaging neighbouring results, adds
    neighbouring taps of the kernel: it becomes the 4x4 sum of the 3x3 one in its four positions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        gain: float = SQRT2,
        use_wscale: bool = True,
        bias: bool = True,
        fused: Literal["", "up", "down"] = "",
    ) -> None:
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        fan_in = in_channels * kernel_size**2
        super().__init__(shape, out_channels if bias else 0, fan_in, gain, use_wscale=use_wscale)
        self.padding, self.fused = kernel_size // 2, fused

    def kernel_of(self, scaled: Tensor) -> Tensor:
        """`[out, in, k, k]`; `[in, out, 4, 4]` for "up", as `conv_transpose2d` scatters with a kernel."""
        if self.fused == "up":
            return F.avg_pool2d(scaled, 2, stride=1, padding=1, divisor_override=1).flip(2, 3).transpose(0, 1)
        if self.fused == "down":
            return F.avg_pool2d(scaled, 2, stride=1, padding=1)
        return scaled

    def forward(self, x: Tensor) -> Tensor:
        """`[N, in, H, W]` -> `[N, out, H, W]`, `[N, out, 2H, 2W]` or `[N, out, H/2, W/2]`."""
        kernel, bias = self.kernel_and_bias(x)
        if self.fused == "up":
            return F.conv_transpose2d(x, kernel, bias, stride=2, padding=1)
        return F.conv2d(x, kernel, bias, stride=2 if self.fused else 1, padding=self.padding)


class ScaledLinear(ScaledLayer):
    """Fully connected layer; `per_map` outputs (the pixels of one feature map) share a bias."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        per_map: int = 1,
        gain: float = SQRT2,
        use_wscale: bool = True,
        bias: bool = True,
    ) -> None:
        biases = out_features // per_map if bias else 0
        super().__init__((out_features, in_features), biases, in_features, gain, use_wscale=use_wscale)
        self.per_map = per_map

    def forward(self, x: Tensor) -> Tensor:
        """`[N, in]` -> `[N, out]`."""
        kernel, bias = self.kernel_and_bias(x)
        return F.linear(x, kernel, None if bias is None else bias.repeat_interleave(self.per_map, dim=0))


class LayerNorm(nn.Module):
    """Normalize each image's features as a whole; one gain per layer, one bias per feature map.

    Source: Ba et al. 2016, in D as Gulrajani et al. 2017 use it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]`, the same shape out."""
        features = at_least_float32(x).flatten(1)  # [N, C*H*W]
        variance, mean = torch.var_mean(features, dim=1, correction=0, keepdim=True)
        normalized = ((features - mean) * torch.rsqrt(variance + 1e-4)).reshape(x.shape)
        y: Tensor = normalized * self.weight + self.bias[:, None, None]
        return y.to(x.dtype)


def batch_norm(channels: int, *, keep_statistics: bool) -> nn.BatchNorm2d:
    """Batch normalization with the original's constants.

    Args:
        channels: Feature maps.
        keep_statistics: For G, which once trained works on frozen statistics (`freeze_batch_statistics`);
            D never works alone.
    """
    return nn.BatchNorm2d(channels, eps=1e-4, momentum=0.1, track_running_stats=keep_statistics)


class MinibatchDiscrimination(nn.Module):
    """Append to each image's features how close the other images of the minibatch are.

    Source: Salimans et al. 2016, section 3.2.
    """

    def __init__(self, features: int, kernels: int = 100, dim: int = 5) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.randn(features, kernels, dim) * 0.05)
        self.log_scale = nn.Parameter(torch.zeros(kernels, dim))
        self.bias = nn.Parameter(torch.full((kernels,), -1.0))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, F]` -> `[N, F + kernels]`."""
        closeness = torch.exp(-self.distances(x)).sum(dim=1)  # [N, K]
        return torch.cat([x, (closeness + self.bias).to(x.dtype)], dim=1)

    def distances(self, x: Tensor) -> Tensor:
        """L1 distances `[N, N, K]` between all pairs of images; infinite from an image to itself."""
        theta: Tensor = self.theta * (self.log_scale.exp() / torch.linalg.vector_norm(self.theta, dim=0))
        with torch.autocast(x.device.type, enabled=False):
            projected: Tensor = torch.tensordot(at_least_float32(x), theta, dims=1)  # [N, K, dim]
        distances: Tensor = (projected[:, None] - projected[None]).abs().sum(dim=-1)
        itself = torch.eye(len(x), dtype=torch.bool, device=x.device)[:, :, None]
        return distances.masked_fill(itself, torch.inf)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set scale and bias from data: nearest neighbours 2 apart on average, outputs around zero.

        Args:
            x: `[N, F]` features of real images; the original takes 500.
        """
        half_nearest = 0.5 * self.distances(x).amin(dim=1).mean(dim=0)  # [K]
        self.log_scale.sub_(half_nearest.log()[:, None])
        self.bias.copy_(-torch.exp(-self.distances(x)).sum(dim=1).mean(dim=0))
