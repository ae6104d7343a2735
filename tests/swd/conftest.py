"""Reference numbers of the metric and what the tests of `swd` share."""

import importlib.util
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from celebahq.pyramid import PyramidWriter

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


def load_tool(name: str) -> ModuleType:
    """A module of `tools/`."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def plain() -> ModuleType:
    """The metric restated in plain NumPy and SciPy."""
    return load_tool("plain_swd")


@pytest.fixture(scope="session")
def precision() -> ModuleType:
    """Draws sets again and again."""
    return load_tool("swd_precision")


def noise_images(count: int, size: int, *, seed: int, slope: float = 1.0) -> np.ndarray:
    """`[N, 3, s, s]` uint8 pictures of 1/f noise with correlated channels: stand-ins for photographs."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = 1 / size
    spectrum = np.fft.rfft2(random.normal(size=(count, 3, size, size))) / frequency**slope
    planes = np.fft.irfft2(spectrum, s=(size, size))
    planes += planes.mean(axis=1, keepdims=True)
    planes *= 40 / planes.std(axis=(1, 2, 3), keepdims=True)
    return np.clip(np.rint(planes + 120), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    """`noise(count, size, seed=..., slope=...)`: `[N, 3, s, s]` uint8."""
    return noise_images


@pytest.fixture(scope="session")
def save_images() -> Callable[[Path, np.ndarray], Path]:
    """Write `[N, C, s, s]` as numbered PNG files into a folder, half of them in a folder inside it."""

    def save(folder: Path, images: np.ndarray) -> Path:
        for number, image in enumerate(images):
            path = folder / ("a" if number < len(images) // 2 else "b") / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(path)
        return folder

    return save


class Containers(NamedTuple):
    """The same images in every form."""

    images: np.ndarray
    folder: Path
    zip: Path
    h5: Path
    npy: Path
    npz: Path


@pytest.fixture(scope="session")
def containers(tmp_path_factory, save_images) -> Callable[[str, np.ndarray], Containers]:
    """Write images in every form."""

    def write(name: str, images: np.ndarray) -> Containers:
        parent = tmp_path_factory.mktemp(name)
        forms = Containers(images, *(parent / f"{name}{end}" for end in ("", ".zip", ".h5", ".npy", ".npz")))
        save_images(forms.folder, images)
        with zipfile.ZipFile(forms.zip, "w") as archive:
            for path in sorted(forms.folder.rglob("*.png"), reverse=True):
                archive.write(path, path.relative_to(forms.folder))
            archive.writestr("dataset.json", "{}")
        with PyramidWriter(forms.h5, images.shape[-1], images.shape[1]) as pyramid:
            pyramid.append(images)
        np.save(forms.npy, images)
        np.savez_compressed(forms.npz, images.transpose(0, 2, 3, 1))
        return forms

    return write


@pytest.fixture(scope="session")
def reals(containers) -> Containers:
    """24 pictures of 32 px."""
    return containers("reals", noise_images(24, 32, seed=1))


@pytest.fixture(scope="session")
def fakes(containers) -> Containers:
    """20 somewhat smoother ones."""
    return containers("fakes", noise_images(20, 32, seed=2, slope=1.3))
