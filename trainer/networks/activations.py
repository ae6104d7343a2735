"""Leaky ReLU, alone and with pixelwise normalization, in fewer passes over memory than autograd needs."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def leaky_relu(x: Tensor, slope: float) -> Tensor:
    """As `F.leaky_relu`; on a GPU by `lean_leaky_relu`, whose call costs more than it saves on a CPU."""
    if x.device.type == "cpu" or torch.compiler.is_compiling():  # which knows better
        return F.leaky_relu(x, slope)
    return lean_leaky_relu(x, slope)


def lean_leaky_relu(x: Tensor, slope: float) -> Tensor:
    """As `F.leaky_relu`, for any number of derivatives; the same bits.

    PyTorch's keeps x and gives it a second derivative, of zeros that are added up to the input. This keeps
    the result, which the next layer keeps anyway, and gives none.
    """
    y: Tensor = _LeakyReLU.apply(x, slope)  # type: ignore[no-untyped-call]
    return y


def leaky_relu_and_pixel_norm(x: Tensor, slope: float, epsilon: float = 1e-8) -> Tensor:
    """`pixel_norm(leaky_relu(x, slope))` for half precision, which can be differentiated once.

    Args:
        x: `[N, C, H, W]`; squares are summed in float32.
        slope: 0 is plain ReLU.
        epsilon: Added to the mean square.
    """
    y: Tensor = _LeakyReLUPixelNorm.apply(x, slope, epsilon)  # type: ignore[no-untyped-call]
    return y


class _LeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, slope: float) -> Tensor:
        return F.leaky_relu(x, slope)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.slope = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return _LeakyReLUSlope.apply(gradients[0], y, ctx.slope), None  # type: ignore[no-untyped-call]


class _LeakyReLUSlope(torch.autograd.Function):
    """Multiply by 1 or the slope, as y's sign says; linear, so its derivative is itself."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, slope: float) -> Tensor:
        product: Tensor = torch.ops.aten.leaky_relu_backward(x, y, slope, True)
        return product

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.slope = inputs[2]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors
        return _LeakyReLUSlope.apply(gradients[0], y, ctx.slope), None, None  # type: ignore[no-untyped-call]


class _LeakyReLUPixelNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, epsilon: float) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            active = F.leaky_relu(x, slope)
            norm = torch.linalg.vector_norm(active, dim=1, keepdim=True, dtype=torch.float32)
            # 1 / sqrt(norm^2 / C + epsilon), in two steps; [N, 1, H, W]
            root = torch.hypot(norm, torch.tensor(math.sqrt(x.shape[1] * epsilon)))
            factor = torch.empty_like(norm, dtype=x.dtype)
            torch.div(torch.tensor(math.sqrt(x.shape[1])), root, out=factor)
            y = active * factor
        ctx.save_for_backward(y, factor)
        ctx.slope = slope
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # somebody wants to differentiate the derivative
            raise RuntimeError("leaky_relu_and_pixel_norm can be differentiated once")
        # y = a / rms(a): its derivative takes away what lies along y. The sign of y is that of a.
        (gradient,) = gradients
        y, factor = ctx.saved_tensors
        along = (gradient * y).mean(dim=1, keepdim=True)
        x_gradient = torch.addcmul(gradient, y, along, value=-1).mul_(factor)
        return torch.ops.aten.leaky_relu_backward(x_gradient, y, ctx.slope, True), None, None
