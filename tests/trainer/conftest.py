"""Fixtures of the trainer's tests."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent.parent / "golden" / "trainer"


@pytest.fixture
def golden() -> Callable[..., dict[str, Tensor]]:
    """Loads a golden file; computing in float64 leaves only the files' own float32 rounding."""

    def load(name: str, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
        with np.load(GOLDEN / f"{name}.npz") as file:
            arrays = {key: torch.from_numpy(file[key]) for key in file.files}
        return {key: a.to(dtype) if a.is_floating_point() else a for key, a in arrays.items()}

    return load


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded source of random numbers."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def heeded_hangup() -> Iterator[None]:
    """SIGHUP as in a terminal, also where the tests run under `nohup`, which has it ignored."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, previous)
