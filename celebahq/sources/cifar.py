"""CIFAR-10 and CIFAR-100 from their Python batches."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from celebahq.errors import FormatError
from celebahq.sources.image_set import (
    Example,
    ImportOptions,
    LoadedFiles,
    one_hot,
    require_count,
    require_files,
)
from celebahq.sources.importable import SOURCES


class _Cifar(LoadedFiles):
    """Rows of 3072 bytes: 32x32 red, then green, then blue."""

    loaded = ("_images",)
    folder: ClassVar[str]
    batches: ClassVar[dict[str, list[str]]]
    label_key: ClassVar[str]
    classes: ClassVar[int]
    published: ClassVar[dict[str, int]]

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self.resolution, self.channels = 32, 3
        folder = path / self.folder if (path / self.folder).is_dir() else path
        self._files = [folder / name for name in self.batches[options.split]]
        require_files(self._files, self.source.origin)
        self.load()
        require_count(folder, len(self), self.published[options.split], options)

    def __len__(self) -> int:
        return len(self._labels)

    def load(self) -> None:
        """Read the batches."""
        batches = [_read_batch(path, self.label_key, self.classes) for path in self._files]
        self._images = np.concatenate([images for images, _, _ in batches])  # [N, 3, 32, 32]
        self._labels = [label for _, labels, _ in batches for label in labels]
        self._names = [name for _, _, names in batches for name in names]

    def read(self, index: int) -> Example:
        """One image."""
        return Example(self._images[index], one_hot(self._labels[index], self.classes))

    def image_name(self, index: int) -> str:
        """The name that the batch gives it."""
        return self._names[index]


class Cifar10(_Cifar):
    """60,000 images of 10 classes."""

    source = SOURCES["cifar10"]
    folder = "cifar-10-batches-py"
    batches: ClassVar = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
    label_key = "labels"
    classes = 10
    published: ClassVar = {"train": 50_000, "test": 10_000}


class Cifar100(_Cifar):
    """60,000 images of 100 classes, the fine ones."""

    source = SOURCES["cifar100"]
    folder = "cifar-100-python"
    batches: ClassVar = {"train": ["train"], "test": ["test"]}
    label_key = "fine_labels"
    classes = 100
    published: ClassVar = {"train": 50_000, "test": 10_000}


def _read_batch(path: Path, label_key: str, classes: int) -> tuple[np.ndarray, list[int], list[str]]:
    """Images `[n, 3, 32, 32]`, labels and names of a batch."""
    with path.open("rb") as file:
        try:
            batch = {_text(key): value for key, value in _ArraysOnly(file, encoding="bytes").load().items()}
        except Exception as err:  # a damaged pickle raises whatever its opcodes lead to
            raise FormatError(path, f"not one of CIFAR's batches, or damaged ({err})") from err
    images, labels, names = (batch.get(key) for key in ("data", label_key, "filenames"))
    if not (
        isinstance(images, np.ndarray)
        and images.dtype == np.uint8
        and images.shape[1:] == (3072,)
        and isinstance(labels, list)
        and isinstance(names, list)
        and len(images) == len(labels) == len(names)
        and all(isinstance(label, int) and 0 <= label < classes for label in labels)
    ):
        raise FormatError(
            path, f"expected 'data' [n, 3072] uint8, and 'filenames' and '{label_key}' for each"
        )
    return images.reshape(-1, 3, 32, 32), labels, [_text(name) for name in names]


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class _ArraysOnly(pickle.Unpickler):
    """Unpickles arrays and plain containers; whatever else a file names is refused, not run."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """The few names that an array's pickle needs."""
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _new_array
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _new_array(kind: type, shape: tuple[int, ...], dtype: bytes) -> np.ndarray:
    """An empty array, which the pickle then fills."""
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _latin1(text: str, encoding: str) -> bytes:
    """How pickles of protocol 2 spell bytes."""
    return text.encode("latin1")
