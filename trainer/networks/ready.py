"""Weights as half-precision convolutions take them, made once for several uses."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainer.networks.layers import ScaledLayer
from trainer.networks.progressive import resolution_of


@contextmanager
def ready_weights(network: nn.Module, resolution: int, dtype: torch.dtype) -> Iterator[Callable[[], None]]:
    """Scale, shape and round the weights of all layers up to a resolution; inside, autocast finds them so.

    Autocast alone does it at every use, and its casts keep no more than this does: D's weights are used three
    times in a pass. At the end the gradients that were gathered inside, in `dtype`, are added to those of the
    parameters. What is given may be called between two backward passes: then their gradients are added up
    for all layers at once.
    """
    layers = layers_up_to(network, resolution)
    learns = torch.is_grad_enabled() and any(layer.weight.requires_grad for layer in layers)
    with torch.no_grad():
        scaled = list(
            torch._foreach_mul([layer.weight for layer in layers], [layer.scale for layer in layers])
        )
    for weight in scaled:
        weight.requires_grad_(learns)
    shaped = [layer.kernel_of(weight) for layer, weight in zip(layers, scaled, strict=True)]
    biased = [layer for layer in layers if layer.bias is not None]
    exact = [*shaped, *(layer.bias for layer in biased if layer.bias is not None)]
    rounded = [value.requires_grad_(learns) for value in converted(exact, dtype)]
    kernels, biases = rounded[: len(layers)], dict(zip(biased, rounded[len(layers) :], strict=True))
    for layer, kernel in zip(layers, kernels, strict=True):
        layer.ready = kernel, biases.get(layer)
    earlier: dict[int, Tensor] = {}

    def set_aside() -> None:
        for index, value in enumerate(rounded):
            if value.grad is not None:
                earlier[index], value.grad = value.grad, None

    try:
        yield set_aside
    finally:
        for layer in layers:
            layer.ready = None
    if learns:
        add_earlier(rounded, earlier)
        add_gradients([layer.bias for layer in biased], list(biases.values()), [1.0] * len(biased))
        kernels = unshaped(scaled, shaped, kernels)
        add_gradients([layer.weight for layer in layers], kernels, [layer.scale for layer in layers])


def add_earlier(values: list[Tensor], earlier: dict[int, Tensor]) -> None:
    """Add gradients that were set aside to those that came after them."""
    both = [index for index in earlier if values[index].grad is not None]
    if both:
        torch._foreach_add_([values[index].grad for index in both], [earlier[index] for index in both])  # type: ignore[misc]
    for index in earlier.keys() - both:
        values[index].grad = earlier[index]


def layers_up_to(network: nn.Module, resolution: int) -> list[ScaledLayer]:
    """Those whose names hold no higher resolution."""
    return [
        layer
        for name, layer in network.named_modules()
        if isinstance(layer, ScaledLayer) and resolution_of(name) <= resolution
    ]


def converted(values: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Copies of another type, in as few steps as there are."""
    copies = [torch.empty_like(value, dtype=dtype, requires_grad=False) for value in values]
    if copies:
        torch._foreach_copy_(copies, [value.detach() for value in values])
    return copies


def unshaped(scaled: list[Tensor], shaped: list[Tensor], kernels: list[Tensor]) -> list[Tensor]:
    """The tensors whose `grad` is that of the scaled weights, once the kernels have theirs."""
    pairs = [
        (shape, kernel.grad)
        for weight, shape, kernel in zip(scaled, shaped, kernels, strict=True)
        if shape is not weight and kernel.grad is not None
    ]
    if pairs:
        shapes, gradients = zip(*pairs, strict=True)
        exact = converted(gradients, torch.float32)
        torch.autograd.backward(shapes, exact)
    return [
        kernel if shape is weight else weight
        for weight, shape, kernel in zip(scaled, shaped, kernels, strict=True)
    ]


def add_gradients(
    parameters: Sequence[Tensor | None], gathered: Sequence[Tensor], scales: Sequence[float]
) -> None:
    """Add `scale * gradient` to the parameters' own; those without any stay without."""
    found = [
        (parameter, value.grad, scale)
        for parameter, value, scale in zip(parameters, gathered, scales, strict=True)
        if parameter is not None and value.grad is not None
    ]
    if not found:
        return
    exact = converted([gradient for _, gradient, _ in found], torch.float32)
    torch._foreach_mul_(exact, [scale for *_, scale in found])
    before = []
    for (parameter, _, _), gradient in zip(found, exact, strict=True):
        if parameter.grad is None:
            parameter.grad = gradient
        else:
            before.append((parameter.grad, gradient))
    if before:
        torch._foreach_add_(*map(list, zip(*before, strict=True)))
