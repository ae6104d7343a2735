"""Street View House Numbers, cropped digits."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.io.matlab import MatReadError

from celebahq.errors import FormatError
from celebahq.readers.isolation import run_apart
from celebahq.sources.catalogue import SOURCES
from celebahq.sources.data_set import Example, LoadedFiles, one_hot

MAT_ERRORS = (
    MatReadError,
    ValueError,
    TypeError,
    LookupError,
    OSError,
    EOFError,
    NotImplementedError,  # a kind of array that SciPy does not read
    ArithmeticError,
    AttributeError,
    NameError,  # a local variable that its reader did not set
    AssertionError,
    RuntimeError,
    zlib.error,
    struct.error,
)
"""What SciPy raises for damaged files, as it follows what they say."""


class Svhn(LoadedFiles):
    """32x32 colour digits; the digit 0, which the files call 10, is class 0."""

    source = SOURCES["svhn"]
    resolution, channels = 32, 3
    loaded = ("_images",)
    published: ClassVar = {"train": 73_257, "test": 26_032}
    published_md5: ClassVar = {
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    }

    def files(self, path: Path, split: str) -> list[Path]:
        """The one file."""
        return [path / f"{split}_32x32.mat"]

    def __len__(self) -> int:
        return len(self._labels)

    def load(self) -> None:
        """Read the file."""
        (path,) = self._files
        with path.open("rb") as file:
            content = run_apart(read_mat, name=str(path), file=file.fileno())
        images, labels = content["X"], content["y"]
        if (
            images.dtype != np.uint8
            or images.shape[:3] != (32, 32, 3)
            or labels.size != images.shape[-1]
            or not np.isin(labels, range(1, 11)).all()
        ):
            raise FormatError(
                path,
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
        return f"{self._files[0].name}/{index}"


def read_mat(file: int, name: str) -> dict[str, NDArray[Any]]:
    """X and y of a .mat file; in the helper process, for SciPy's reader crashes on damaged ones.

    Raises:
        FormatError: It is none, or these are no arrays of numbers.
    """
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(
            io.BytesIO(os.pread(file, os.fstat(file).st_size, 0)), variable_names=["X", "y"]
        )
        arrays = {key: np.ascontiguousarray(content[key]) for key in ("X", "y")}
    except MAT_ERRORS as err:
        reason = " ".join(str(err).split())[:200]
        raise FormatError(name, f"not a .mat file with X and y, or damaged ({reason})") from err
    for key, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise FormatError(name, f"{key} is {array.dtype}, expected numbers")
    return arrays
