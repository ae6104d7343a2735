"""Fixtures that all three packages' tests use."""

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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
