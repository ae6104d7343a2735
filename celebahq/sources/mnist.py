"""MNIST's digits, and the coloured triples of them that the paper counts modes with."""

import gzip
import struct
import zlib
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError
from celebahq.sources.catalogue import SOURCES
from celebahq.sources.data_set import Example, LoadedFiles, one_hot

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
MAX_IDX_BYTES = 1 << 30
SIDE = 28
BORDER = 2
RGB_COUNT = 1_000_000
RGB_SEED = 123


class Mnist(LoadedFiles):
    """Grey digits, padded with black to 32x32."""

    source = SOURCES["mnist"]
    resolution, channels = SIDE + 2 * BORDER, 1
    loaded: ClassVar[tuple[str, ...]] = ("_digits",)
    published: ClassVar = {"train": 60_000, "test": 10_000}
    published_md5: ClassVar = {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }

    def files(self, path: Path, split: str) -> list[Path]:
        """Digits and labels."""
        return [path / name for name in FILES[split]]

    def __len__(self) -> int:
        return len(self._digits)

    def load(self) -> None:
        """Read and pad the digits."""
        digits = read_idx(self._files[0], 3)
        self._labels = read_idx(self._files[1], 1)
        if digits.shape[1:] != (SIDE, SIDE) or len(digits) != len(self._labels) or (self._labels > 9).any():
            raise FormatError(
                self._files[0],
                f"{digits.shape}, with labels {self._labels.shape}; expected "
                f"[N, {SIDE}, {SIDE}] and N labels 0..9",
            )
        self._digits = np.pad(digits, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))  # [N, 32, 32]

    def read(self, index: int) -> Example:
        """One digit."""
        return Example(self._digits[index][None], one_hot(int(self._labels[index]), 10))

    def image_name(self, index: int) -> str:
        """Its number."""
        return f"{self._files[0].name}/{index}"


class MnistRgb(Mnist):
    """Three random training digits as red, green and blue: 1,000 combinations of classes.

    Source: the paper, appendix D, and its own data set tool, `create_mnistrgb`.
    """

    source = SOURCES["mnist-rgb"]
    channels = 3
    loaded = ("_digits", "_triples")

    def __len__(self) -> int:
        return RGB_COUNT

    def facts(self) -> dict[str, Any]:
        """The files' checksums and the draw's seed."""
        return {**super().facts(), "seed": RGB_SEED}

    def load(self) -> None:
        """Read the digits and draw the triples."""
        super().load()
        # The same draws as one call per image, which is how the data set is defined.
        random = np.random.RandomState(RGB_SEED)
        self._triples = random.randint(len(self._digits), size=(RGB_COUNT, 3))

    def read(self, index: int) -> Example:
        """One triple, with the classes of its digits as a fact."""
        triple = self._triples[index]
        return Example(self._digits[triple], meta={"digits": self._labels[triple]})

    def image_name(self, index: int) -> str:
        """The numbers of the three digits."""
        return f"{self._files[0].name}/" + ",".join(map(str, self._triples[index]))


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An array of uint8 from an idx.gz file, read to its end, where its checksum is.

    Raises:
        FormatError: It is not one, has another number of dimensions, is cut short or damaged.
    """
    try:
        with gzip.open(path) as file:
            magic, *shape = struct.unpack(f">{1 + dimensions}I", file.read(4 * (1 + dimensions)))
            if magic != 0x0800 + dimensions:  # 08: unsigned bytes
                raise FormatError(path, f"magic number {magic:#010x}, expected {0x0800 + dimensions:#010x}")
            size = prod(shape)
            if size > MAX_IDX_BYTES:
                raise FormatError(path, f"an array of {size:,} bytes, and at most {MAX_IDX_BYTES:,} are read")
            data = file.read(size)
            if file.read(1):
                raise FormatError(path, f"goes on after an array {tuple(shape)}")
    except (gzip.BadGzipFile, EOFError, zlib.error, struct.error) as err:
        raise FormatError(path, f"not a complete idx.gz file, or damaged ({err})") from err
    if len(data) != size:
        raise FormatError(path, f"{len(data):,} bytes for an array {tuple(shape)}")
    return np.frombuffer(data, np.uint8).reshape(shape)
