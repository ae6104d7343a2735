"""The two restoration networks: fully convolutional, RGB in 0..1 to RGB in 0..1.

A network states its needs as data: `scale` (output pixels per input pixel), `multiple` (height and
width must be multiples of it), and `halo` (input pixels around a region on which its output depends;
a tile cut with that much surround gives the same result as the whole photo).
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), without normalisation, as Lim et al. 2017 (EDSR) have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        # A block starts near the identity, so that the first steps can use the full learning rate.
        with torch.no_grad():
            self.conv2.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to the same."""
        residual: Tensor = self.conv2(functional.relu(self.conv1(x), inplace=True))
        return x + residual


def residual_blocks(channels: int, count: int) -> nn.Sequential:
    """`count` residual blocks in a row."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def start_at_zero(conv: nn.Conv2d) -> nn.Conv2d:
    """Make a fresh convolution answer 0, so that a residual network begins as its skip connection."""
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


class RedNet(nn.Module):
    """JPEG-artifact removal: an encoder-decoder with symmetric additive skips.

    The layout of Mao et al. 2016 (RED-Net) with strided levels: pixel-unshuffle 2, residual blocks per
    level, strided convolutions down, transposed ones up, pixel-shuffle, and the input added at the end.

    The network sees the picture less its local brightness, enlarged: artifacts are some hundredths of the
    range, and beside the brightness itself the first layers would hardly notice them.
    """

    scale = 1
    detail_gain = 5.0
    residual_gain = 0.1

    def __init__(self, channels: tuple[int, ...] = (64, 128, 192), blocks: int = 2) -> None:
        """Args: `channels` per level, the first at half the photo's resolution; `blocks` per stage."""
        super().__init__()
        self.config = {"channels": list(channels), "blocks": blocks}
        levels = len(channels)
        self.multiple = 2**levels
        # In each stage 2 * blocks 3x3 convolutions reach one pixel of their level each; the head and the
        # tail one of half resolution. A strided step reads within its own cell, hence one cell more.
        strides = [2 ** (level + 1) for level in range(levels)]
        reach = 2 * strides[0] + sum(2 * blocks * stride * 2 for stride in strides[:-1])
        reach += 2 * blocks * strides[-1] + strides[-1]
        reach += 2 * self.multiple  # the local brightness
        self.halo = -(-reach // self.multiple) * self.multiple

        self.head = nn.Conv2d(3 * 4, channels[0], 3, padding=1)
        self.encoder = nn.ModuleList(residual_blocks(c, blocks) for c in channels)
        self.decoder = nn.ModuleList(residual_blocks(c, blocks) for c in channels[:-1])
        steps = list(itertools.pairwise(channels))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.tail = start_at_zero(nn.Conv2d(channels[0], 3 * 4, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` in 0..1 to the same, not clipped; H and W multiples of `multiple`."""
        cells = functional.avg_pool2d(image, self.multiple)
        brightness = functional.interpolate(cells, scale_factor=self.multiple, mode="bilinear")
        detail = self.detail_gain * (image - brightness)
        x = self.head(functional.pixel_unshuffle(detail, 2))  # [N, C0, H/2, W/2]
        skips = []
        for stage, down in zip(self.encoder, self.down, strict=False):
            x = stage(x)
            skips.append(x)
            x = down(x)
        x = self.encoder[-1](x)
        for stage, up, skip in zip(reversed(self.decoder), reversed(self.up), reversed(skips), strict=True):
            x = stage(up(x) + skip)
        return image + self.residual_gain * functional.pixel_shuffle(self.tail(x), 2)


class SrResNet(nn.Module):
    """4x super-resolution after Ledig et al. 2017: residual blocks at the small size, no batch norm.

    The last convolution gives 48 channels for one pixel-shuffle by 4, added to the bilinear enlargement.
    """

    scale = 4
    multiple = 1

    def __init__(self, channels: int = 64, blocks: int = 16) -> None:
        super().__init__()
        self.config = {"channels": channels, "blocks": blocks}
        self.halo = 2 * blocks + 3  # every 3x3 convolution reaches one pixel: head, blocks, fuse, tail

        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.body = residual_blocks(channels, blocks)
        self.fuse = nn.Conv2d(channels, channels, 3, padding=1)
        self.tail = start_at_zero(nn.Conv2d(channels, 3 * self.scale**2, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` in 0..1 to `[N, 3, 4 H, 4 W]`, not clipped."""
        head = self.head(image)
        residual = functional.pixel_shuffle(self.tail(head + self.fuse(self.body(head))), self.scale)
        return functional.interpolate(image, scale_factor=self.scale, mode="bilinear") + residual


Network = RedNet | SrResNet
ARCHITECTURES: dict[str, type[RedNet] | type[SrResNet]] = {"RedNet": RedNet, "SrResNet": SrResNet}
