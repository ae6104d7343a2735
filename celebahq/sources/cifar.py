"""CIFAR-10 and CIFAR-100 from their Python batches."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError
from celebahq.readers.pickles import ARRAY_GLOBALS, read_pickle, to_array, to_text
from celebahq.sources.catalogue import SOURCES
from celebahq.sources.data_set import Example, LoadedFiles, one_hot


class _Cifar(LoadedFiles):
    """Rows of 3072 bytes: 32x32 red, then green, then blue."""

    resolution, channels = 32, 3
    loaded = ("_images",)
    folder: ClassVar[str]
    batches: ClassVar[dict[str, list[str]]]
    label_key: ClassVar[str]
    classes: ClassVar[int]

    def files(self, path: Path, split: str) -> list[Path]:
        """The batches."""
        folder = path / self.folder if (path / self.folder).is_dir() else path
        return [folder / name for name in self.batches[split]]

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
    published_md5: ClassVar = {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    }


class Cifar100(_Cifar):
    """60,000 images of 100 classes, the fine ones."""

    source = SOURCES["cifar100"]
    folder = "cifar-100-python"
    batches: ClassVar = {"train": ["train"], "test": ["test"]}
    label_key = "fine_labels"
    classes = 100
    published: ClassVar = {"train": 50_000, "test": 10_000}
    published_md5: ClassVar = {
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    }


def _read_batch(path: Path, label_key: str, classes: int) -> tuple[NDArray[np.uint8], list[int], list[str]]:
    """Images `[n, 3, 32, 32]`, labels and names of a batch."""
    try:
        with path.open("rb") as file:
            content = read_pickle(file, ARRAY_GLOBALS)
        if not isinstance(content, dict):
            raise FormatError("no dictionary")
        batch = {to_text(key): value for key, value in content.items()}
        images = to_array(batch.get("data"))
    except FormatError as err:
        raise FormatError(path, f"not one of CIFAR's batches, or damaged ({err})") from err
    labels, names = batch.get(label_key), batch.get("filenames")
    if not (
        images.dtype == np.uint8
        and images.shape[1:] == (3072,)
        and isinstance(labels, list)
        and isinstance(names, list)
        and len(images) == len(labels) == len(names)
        and all(type(label) is int and 0 <= label < classes for label in labels)
        and all(isinstance(name, str | bytes) for name in names)
    ):
        raise FormatError(
            path, f"expected 'data' [n, 3072] uint8, and 'filenames' and '{label_key}' for each"
        )
    return images.reshape(-1, 3, 32, 32), labels, [to_text(name) for name in names]
