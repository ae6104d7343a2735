"""What D and G minimise [Karras et al. 2018, appendix A.1 and B], and the reals' part of the fade.

Scores are `[N, 1]`, higher for images that look real. Means and norms are taken in float32 at least.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.networks.layers import at_least_float32, downscale2d, upscale2d


def wgan_discriminator_loss(real_scores: Tensor, fake_scores: Tensor, drift: float = 0.001) -> Tensor:
    """mean(fake) - mean(real) + drift * mean(real^2), without the gradient penalty.

    The drift term keeps the scores, which are free up to a constant, from wandering.
    """
    reals, fakes = at_least_float32(real_scores), at_least_float32(fake_scores)
    return fakes.mean() - reals.mean() + drift * reals.square().mean()


def wgan_generator_loss(fake_scores: Tensor) -> Tensor:
    """-mean(fake)."""
    return -at_least_float32(fake_scores).mean()


def lsgan_discriminator_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """mean(real^2) + 0.1 * mean((fake - 1)^2): here the reals' target is 0, the fakes' 1.

    Source: the authors' program; Mao et al. 2017 call the targets a and b and weigh both sides equally.
    """
    reals, fakes = at_least_float32(real_scores), at_least_float32(fake_scores)
    return reals.square().mean() + 0.1 * (fakes - 1.0).square().mean()


def lsgan_generator_loss(fake_scores: Tensor) -> Tensor:
    """mean(fake^2): fakes should be judged like reals."""
    return at_least_float32(fake_scores).square().mean()


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of D's label logits, `[N, L]`, against one-hot labels, `[N, L]`.

    D minimises it on reals and fakes, G on fakes [AC-GAN: Odena et al. 2017].
    """
    return F.cross_entropy(at_least_float32(logits), at_least_float32(labels))


def mix_images(reals: Tensor, fakes: Tensor, factors: Tensor) -> Tensor:
    """Points on the lines from reals to fakes, where the gradient penalty is taken.

    Args:
        reals: `[N, C, r, r]`.
        fakes: The same shape.
        factors: `[N, 1, 1, 1]`, uniform in 0..1.
    """
    return reals + (fakes - reals) * factors


def gradient_penalty(
    score: Callable[[Tensor], Tensor],
    mixed: Tensor,
    lod: float = 0.0,
    target: float = 1.0,
    weight: float = 10.0,
    norm_at: Literal["full", "current"] = "full",
) -> Tensor:
    """weight / target^2 * mean((norm - target)^2), where norm is that of each image's score gradient.

    The originals feed D with images nearest-upscaled to the final resolution, so their norm at lod l, "full",
    is that of the low-resolution gradient divided by 2^floor(l): each pixel's gradient is spread over 4^l
    pixels. This is what produced the published results. "current" takes the low-resolution norm itself.

    Compile the function that calls this one, or nothing, rather than D: PyTorch cannot differentiate a
    compiled module twice, and `autograd.grad` may then leave parameters without a gradient. That is also why
    the inner derivative is `torch.func.grad`, which stays right in every combination.

    Args:
        score: Images `[N, C, r, r]` to scores, `[N, 1]` or `[N]`.
        mixed: `[N, C, r, r]`; needs no gradient of its own.
        lod: Level of detail of the images.
        target: Norm that is aimed at; 750 for CIFAR-10, else 1.
        weight: Lambda.
        norm_at: Resolution at which the norm is taken.

    Returns:
        0-d tensor with a graph to the parameters of `score`.

    Raises:
        ValueError: `norm_at` is neither "full" nor "current".

    Source: Gulrajani et al. 2017; target: Karras et al. 2018, section 6.5.

    >>> import torch, trainer
    >>> slope = torch.full((1, 3, 4, 4), 2 / 48**0.5)  # norm 2
    >>> score = lambda images: (images * slope).sum((1, 2, 3))
    >>> penalty = trainer.gradient_penalty(score, torch.rand(5, 3, 4, 4))
    >>> round(float(penalty), 4)  # 10 * (2 - 1)^2
    10.0
    """
    if norm_at not in ("full", "current"):
        raise ValueError(f'norm_at: must be "full" or "current", not {norm_at!r}')
    gradients: Tensor = torch.func.grad(lambda images: score(images).sum())(mixed.detach())  # [N, C, r, r]
    norms: Tensor = torch.linalg.vector_norm(at_least_float32(gradients).flatten(1), dim=1)  # [N]
    if norm_at == "full":
        norms = norms / 2 ** math.floor(lod)
    penalty: Tensor = (norms - target).square().mean()
    return weight / target**2 * penalty


def update_gdrop(average: float, value: float, coefficient: float = 0.2) -> tuple[float, float]:
    """Adapt the strength of D's multiplicative noise once per D step.

    Args:
        average: Running average so far, 0 at first.
        value: The step's D loss, as in the original (its name says fake score).
        coefficient: 0 switches the noise off, as in all published WGAN-GP runs.

    Returns:
        The new running average and the strength for the next step.

    Source: Karras et al. 2018, appendix B.
    """
    average = 0.9 * average + 0.1 * min(max(value, 0.0), 1.0)
    return average, coefficient * max(average - 0.5, 0.0) ** 2


def real_fade(reals: Tensor, lod: float) -> Tensor:
    """Blend the reals with their half resolution, as the fakes are while a layer fades in.

    Args:
        reals: `[N, C, r, r]` floating point, the pyramid level floor(lod).
        lod: Level of detail; its fraction is the weight of the lower resolution.

    Returns:
        The same shape.

    Raises:
        ValueError: Integer images: their fade would have to be rounded.

    >>> import torch, trainer
    >>> reals = torch.tensor([[[[0.0, 8.0], [0.0, 8.0]]]])
    >>> trainer.real_fade(reals, lod=0.25)[0, 0].tolist()  # a quarter of the way to their mean, 4
    [[1.0, 7.0], [1.0, 7.0]]
    """
    if not reals.is_floating_point():
        raise ValueError(f"reals: must be floating point, not {reals.dtype}")
    fade = lod - math.floor(lod)
    return torch.lerp(reals, upscale2d(downscale2d(reals)), fade) if fade > 0 else reals
