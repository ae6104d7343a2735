"""Matrix products by the library that is fast on the processor at hand."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


@cache
def numpy_is_faster() -> bool:
    """Whether this is an AMD processor: there MKL, which PyTorch uses, takes up to twice NumPy's time."""
    facts = Path("/proc/cpuinfo")
    return facts.exists() and "AuthenticAMD" in facts.read_text()


def multiply(a: Tensor, b: Tensor, *, out: Tensor) -> None:
    """`out` = `a` @ `b`, matrices of one type; without a gradient.

    NumPy adds up in another order than PyTorch: results differ in the last bits.
    """
    if a.device.type == "cpu" and numpy_is_faster():
        np.matmul(a.detach().numpy(), b.detach().numpy(), out=out.numpy())
    else:
        torch.mm(a, b, out=out)
