"""Networks whose weights others have published.

Like our own networks these map RGB in 0..1 to RGB in 0..1 and state `scale`, `multiple` and `halo`; and
`tile_px`, the input pixels of a tile's core that keep the memory within bounds.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

RRDB_HALO = 64
"""Input pixels around a tile of an RRDBNet. The network's reach is some 350, but its answer hardly depends on
what is far away: for Real-ESRGAN's x4plus on a face, tiles with this surround differ from the whole by at
most half a grey level (with 48 pixels by 2.6, with 16 by 16)."""
SPANDREL_HALO = 64


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all earlier results; a fifth of the last joins the input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()

        def conv(earlier: int, out: int) -> nn.Conv2d:
            return nn.Conv2d(channels + earlier * growth, out, 3, padding=1)

        self.conv1, self.conv2 = conv(0, growth), conv(1, growth)
        self.conv3, self.conv4 = conv(2, growth), conv(3, growth)
        self.conv5 = conv(4, channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to the same."""
        seen = [x]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(_leaky(conv(torch.cat(seen, 1))))
        last: Tensor = self.conv5(torch.cat(seen, 1))
        return x + 0.2 * last


class ResidualInResidualBlock(nn.Module):
    """Three dense blocks; a fifth of their result is added to the input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(channels, growth)
        self.rdb2 = DenseBlock(channels, growth)
        self.rdb3 = DenseBlock(channels, growth)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to the same."""
        inner: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return x + 0.2 * inner


class RRDBNet(nn.Module):
    """The generator of ESRGAN (Wang et al. 2018) and Real-ESRGAN (Wang et al. 2021).

    The parameters have Real-ESRGAN's names. `unshuffle` is the factor by which the picture is folded into
    channels first, as Real-ESRGAN's networks for enlargements below 4 do.
    """

    halo = RRDB_HALO
    tile_px = 256  # The last layers have 64 channels at the enlarged size.

    def __init__(self, channels: int, blocks: int, growth: int, upsamplings: int, unshuffle: int) -> None:
        super().__init__()
        if 2**upsamplings % unshuffle:
            raise ValueError(f"unshuffle: {unshuffle} leaves no whole factor of {2**upsamplings}")
        self.unshuffle = self.multiple = unshuffle
        self.scale = 2**upsamplings // unshuffle
        self.conv_first = nn.Conv2d(3 * unshuffle**2, channels, 3, padding=1)
        self.body = nn.Sequential(*(ResidualInResidualBlock(channels, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(channels, channels, 3, padding=1)
        self.upsampling = [f"conv_up{i + 1}" for i in range(upsamplings)]
        for name in self.upsampling:
            setattr(self, name, nn.Conv2d(channels, channels, 3, padding=1))
        self.conv_hr = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` in 0..1 to `[N, 3, scale H, scale W]`, not clipped."""
        if self.unshuffle > 1:
            image = functional.pixel_unshuffle(image, self.unshuffle)
        x = self.conv_first(image)
        x = x + self.conv_body(self.body(x))
        for name in self.upsampling:
            x = _leaky(getattr(self, name)(functional.interpolate(x, scale_factor=2, mode="nearest")))
        result: Tensor = self.conv_last(_leaky(self.conv_hr(x)))
        return result


class SrVgg(nn.Module):
    """The compact network of Real-ESRGAN: plain convolutions at the small size, then one pixel-shuffle.

    `body` alternates convolutions and PReLUs, as the checkpoints name them.
    """

    multiple = 1
    tile_px = 512

    def __init__(self, channels: int, convolutions: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.halo = convolutions + 2
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.PReLU(channels)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels)]
        layers.append(nn.Conv2d(channels, 3 * scale**2, 3, padding=1))
        self.body = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` in 0..1 to `[N, 3, scale H, scale W]`, not clipped."""
        detail = functional.pixel_shuffle(self.body(image), self.scale)
        return detail + functional.interpolate(image, scale_factor=self.scale, mode="nearest")


class SpandrelNetwork(nn.Module):
    """A network that spandrel knows, in our terms."""

    halo = SPANDREL_HALO
    tile_px = 192

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.network: nn.Module = descriptor.model
        self._descriptor = descriptor
        self.scale = int(descriptor.scale)
        self.multiple = int(descriptor.size_requirements.multiple_of)

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` in 0..1 to `[N, 3, scale H, scale W]`."""
        result: Tensor = self._descriptor(image)
        return result


CommunityNetwork = RRDBNet | SrVgg | SpandrelNetwork


def _leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, 0.2, inplace=True)
