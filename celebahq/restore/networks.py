"""The two restoration networks: fully convolutional, RGB in 0..1 to RGB in 0..1.

A network states its needs as data: `scale` (output pixels per input pixel), `multiple` (height and
width must be multiples of it), and `halo` (input pixels around a region on which its output depends;
a tile cut with that much surround gives the same result as the whole photo), and `near_halo` (the part of it
that matters: with the shipped weights, a result from no more differs by one grey level at most, in a few of
10,000 values).
"""

import itertools
from collections.abc import Sequence
from typing import TypeVar

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


Convolution = TypeVar("Convolution", nn.Conv2d, nn.ConvTranspose2d)


def start_at_zero(conv: Convolution) -> Convolution:
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
    near_halo = 96
    detail_gain = 5.0
    residual_gain = 0.1
    brightness_px = 8
    """Side of the cells of the local brightness: that of a JPEG block."""

    def __init__(
        self,
        channels: Sequence[int] = (64, 128, 192, 128),
        blocks: Sequence[int] | int = (4, 2, 2, 1),
        decoder_blocks: Sequence[int] = (4, 2, 0),
    ) -> None:
        """Build it with fresh weights, as which it returns the picture.

        Args:
            channels: Per level, the first at half the photo's resolution.
            blocks: Residual blocks per level of the encoder; one number for all stages of both sides.
            decoder_blocks: Per level but the coarsest; not looked at where `blocks` is one number.
        """
        super().__init__()
        if isinstance(blocks, int):
            blocks = [blocks] * len(channels)
            decoder_blocks = blocks[:-1]
        self.config = {
            "channels": list(channels),
            "blocks": list(blocks),
            "decoder_blocks": list(decoder_blocks),
        }
        self.multiple = max(1 << len(channels), self.brightness_px)
        self.halo = self._halo()

        self.head = nn.Conv2d(3 * 4, channels[0], 3, padding=1)
        self.encoder = nn.ModuleList(residual_blocks(*level) for level in zip(channels, blocks, strict=True))
        self.decoder = nn.ModuleList(
            residual_blocks(*level) for level in zip(channels[:-1], decoder_blocks, strict=True)
        )
        steps = list(itertools.pairwise(channels))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.tail = start_at_zero(nn.Conv2d(channels[0], 3 * 4, 3, padding=1))

    def _halo(self) -> int:
        """How far a result pixel sees, in whole multiples."""
        # A residual block reaches two pixels of its level; the head and the tail one of half resolution. A
        # strided step reads within its own cell, hence one cell more, and the local brightness two cells.
        strides = [2 << level for level in range(len(self.config["channels"]))]
        reach = 2 * strides[0] + strides[-1] + 2 * self.brightness_px
        for key in ("blocks", "decoder_blocks"):
            reach += sum(2 * n * stride for n, stride in zip(self.config[key], strides, strict=False))
        return -(-reach // self.multiple) * self.multiple

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` in 0..1 to the same, not clipped; H and W multiples of `multiple`."""
        cells = functional.avg_pool2d(image, self.brightness_px)
        brightness = functional.interpolate(cells, scale_factor=self.brightness_px, mode="bilinear")
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


def grow(small: RedNet, large: RedNet) -> None:
    """Give a deeper network the weights of a shallower one, so that it starts as the same function.

    What only the deeper one has starts as nothing: a residual block by a last convolution of zeros, a
    coarser level by zeros where it returns.

    Args:
        small: The network to start from.
        large: Filled in place; its levels have the channels of `small`'s and at least as many blocks.

    Raises:
        ValueError: It does not hold `small`.
    """
    levels = len(small.config["channels"])
    if large.config["channels"][:levels] != small.config["channels"] or large.multiple < small.multiple:
        raise ValueError("large: the levels of small are not its first levels")
    for name, module in large.named_modules():
        if isinstance(module, ResidualBlock):
            start_at_zero(module.conv2)
        elif isinstance(module, nn.ConvTranspose2d) and int(name.split(".")[-1]) >= levels - 1:
            start_at_zero(module)
    missing = large.load_state_dict(small.state_dict(), strict=False)
    if missing.unexpected_keys:
        raise ValueError(f"large: it has fewer blocks than small ({missing.unexpected_keys[0]})")


class SrResNet(nn.Module):
    """4x super-resolution after Ledig et al. 2017: residual blocks at the small size, no batch norm.

    The last convolution gives 48 channels for one pixel-shuffle by 4, added to the bilinear enlargement.
    """

    scale = 4
    multiple = 1
    near_halo = 16

    def __init__(self, channels: int = 64, blocks: int = 5) -> None:
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
