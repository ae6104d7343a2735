"""PyTorch's switches: they are global, and decide what a GPU's convolutions round to."""

import os

import torch

from trainer.configuration.config import RuntimeConfig


def prepare_backends(runtime: RuntimeConfig) -> None:
    """For training: TF32 only on request, deterministic kernels on request."""
    _set_tf32(runtime)
    torch.backends.cudnn.benchmark = not runtime.deterministic
    if runtime.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(runtime.deterministic)


def prepare_inference(runtime: RuntimeConfig) -> None:
    """For a trained generator: the arithmetic that it was trained with, by the same kernels every time.

    An image of a seed is the same in every call; the kernels that cuDNN finds fastest are not.
    """
    _set_tf32(runtime)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def _set_tf32(runtime: RuntimeConfig) -> None:
    torch.backends.cuda.matmul.allow_tf32 = runtime.tf32
    torch.backends.cudnn.allow_tf32 = runtime.tf32
