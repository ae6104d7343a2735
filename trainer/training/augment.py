"""Augmentation of everything that D sees, through which G still learns [Zhao et al. 2020].

Where reals are few, D learns them by heart. It cannot when it never sees an image, real or generated, as it
is; and since G's images are changed in the same ways, G has nothing to gain from making changed ones.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from trainer.networks.layers import at_least_float32

Augment = Callable[[Tensor], Tensor]

COLUMNS = 7
"""Uniform numbers that an image's changes take: brightness, saturation, contrast, two shifts, two corners."""


def unchanged(images: Tensor) -> Tensor:
    """The usual case: D sees images as they are."""
    return images


def augment(images: Tensor, draws: Tensor, kinds: Collection[str]) -> Tensor:
    """Change each image in its own way, in the order colour, translation, cutout.

    Args:
        images: `[N, C, r, r]`, -1..1.
        draws: `[N, 7]` uniform in 0..1, of which each kind has its own columns.
        kinds: Some of `color`, `translation`, `cutout`.

    Returns:
        The same shape, float32 at least; differentiable in the images.
    """
    images = at_least_float32(images)
    if "color" in kinds:
        images = change_color(images, draws[:, 0:3])
    if "translation" in kinds:
        images = translate(images, draws[:, 3:5])
    if "cutout" in kinds:
        images = cut_out(images, draws[:, 5:7])
    return images


def change_color(images: Tensor, draws: Tensor) -> Tensor:
    """Brightness by -0.5..0.5, saturation 0..2 times, contrast 0.5..1.5 times; `draws` is `[N, 3]`."""
    brightness, saturation, contrast = draws.to(images.dtype)[:, :, None, None, None].unbind(dim=1)
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (0.5 + contrast)


def translate(images: Tensor, draws: Tensor) -> Tensor:
    """Shift by up to an eighth of the side, whole pixels; what comes in is 0. `draws` is `[N, 2]` (y, x)."""
    n, channels, side, _ = images.shape
    most = (side + 4) // 8
    shifts = _whole(draws, 2 * most + 1) - most  # [N, 2]
    places = torch.arange(side, device=images.device)[None, None] - shifts[:, :, None]  # [N, 2, side]
    rows, columns = places[:, 0, :, None], places[:, 1, None, :]
    inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)  # [N, side, side]
    flat = (rows.clamp(0, side - 1) * side + columns.clamp(0, side - 1)).flatten(1)  # [N, side * side]
    moved = images.flatten(2).gather(2, flat[:, None].expand(n, channels, -1)).reshape(images.shape)
    return moved * inside[:, None].to(images.dtype)


def cut_out(images: Tensor, draws: Tensor) -> Tensor:
    """Set a square of half the side to 0, its middle anywhere in the image. `draws` is `[N, 2]` (y, x)."""
    side = images.shape[-1]
    size = (side + 1) // 2
    first = _whole(draws, side + 1 - size % 2) - size // 2  # [N, 2]
    places = torch.arange(side, device=images.device)[None, None]
    hit = (places >= first[:, :, None]) & (places < first[:, :, None] + size)  # [N, 2, side]
    hole = hit[:, 0, :, None] & hit[:, 1, None, :]  # [N, side, side]
    return images * (~hole[:, None]).to(images.dtype)


def _whole(draws: Tensor, count: int) -> Tensor:
    """One of 0..count-1 for each number in 0..1, equally likely."""
    return (draws * count).long().clamp(max=count - 1)
