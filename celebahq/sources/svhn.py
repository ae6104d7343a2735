"""Street View House Numbers, cropped digits."""

from pathlib import Path

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

PUBLISHED = {"train": 73_257, "test": 26_032}


class Svhn(LoadedFiles):
    """32x32 colour digits; the digit 0, which the files call 10, is class 0."""

    source = SOURCES["svhn"]
    loaded = ("_images",)

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self.resolution, self.channels = 32, 3
        self._file = path / f"{options.split}_32x32.mat"
        self._files = [self._file]
        require_files(self._files, f"{self.source.expects}: {self.source.origin}")
        self.load()
        require_count(self._file, len(self), PUBLISHED[options.split], options)

    def __len__(self) -> int:
        return len(self._labels)

    def load(self) -> None:
        """Read the file."""
        from scipy.io import loadmat

        try:
            content = loadmat(self._file, variable_names=["X", "y"])
            images, labels = content["X"], content["y"]
        except Exception as err:  # the reader of a damaged file raises whatever its parser meets
            raise FormatError(self._file, f"not a .mat file with X and y, or damaged ({err})") from err
        if (
            images.dtype != np.uint8
            or images.shape[:3] != (32, 32, 3)
            or labels.size != images.shape[-1]
            or not np.isin(labels, range(1, 11)).all()
        ):
            raise FormatError(
                self._file,
                f"X {images.shape} {images.dtype} and y {labels.shape}, expected "
                "[32, 32, 3, N] uint8 and N digits 1..10",
            )
        self._images = images  # [32, 32, 3, N]
        self._labels = (labels.ravel() % 10).astype(int)

    def read(self, index: int) -> Example:
        """One digit."""
        image = np.ascontiguousarray(self._images[..., index].transpose(2, 0, 1))
        return Example(image, one_hot(int(self._labels[index]), 10))

    def image_name(self, index: int) -> str:
        """Its number."""
        return f"{self._file.name}/{index}"
