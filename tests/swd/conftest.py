"""Reference numbers of the metric and what the tests of `swd` share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parent.parent / "golden" / "swd"

Golden = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def golden(request) -> Callable[[str], Golden]:
    """Load `NAME.npz`: kept here for some, in ../shared for all."""

    def load(name: str) -> Golden:
        path = GOLDEN / f"{name}.npz"
        if not path.exists():
            path = request.getfixturevalue("shared") / "golden" / "swd" / path.name
        with np.load(path) as file:
            return dict(file)

    return load


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    torch.manual_seed(0)
