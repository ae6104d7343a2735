"""Fixtures that all three packages' tests use."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

SHARED = Path(__file__).parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; tests that need it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("the reference data folder ../shared is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """A picture with edges, gradients and texture, 301x237."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:301, :237]
    layers = [127 + 90 * np.sin(y / period) * np.cos(x / (period + 3)) for period in (5, 17, 41)]
    picture = np.stack(layers, axis=2) + rng.normal(0, 6, (301, 237, 3))
    picture[100:180, 60:140] += 60
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session", autouse=True)
def pytorchs_switches() -> Callable[[], None]:
    """Sets PyTorch's switches to what they were before the first test."""
    torch = sys.modules.get("torch")  # its import, of seconds, is left to the tests that need it
    if torch is None:
        return lambda: None
    cudnn = torch.backends.cudnn
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    of_cudnn = {name: getattr(cudnn, name) for name in ("benchmark", "deterministic", "allow_tf32")}

    def put_back() -> None:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_float32_matmul_precision("highest")  # TF32 too, and it cannot be read if set in both ways
        for name, value in of_cudnn.items():
            setattr(cudnn, name, value)

    return put_back


@pytest.fixture(autouse=True)
def switches_are_put_back(pytorchs_switches: Callable[[], None]) -> Iterator[None]:
    """No test depends on those before it: trainings and tools set PyTorch's switches for their process."""
    yield
    pytorchs_switches()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
