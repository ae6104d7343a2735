"""Images by number, as PyTorch's `Dataset` wants them ("map-style"), without PyTorch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from operator import index as as_integer
from typing import TYPE_CHECKING, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from celebahq.formats.pyramid_reader import PyramidReader

Indices = slice | Sequence[int] | Sequence[bool] | NDArray[np.integer] | NDArray[np.bool_]


class MapStyle(ABC):
    """Images of one size: `len(images)`, `images[i]`, `images[[3, 1]]`, `images[10:20]`, `images[mask]`."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """`[n, C, r, r]` uint8."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: Indices) -> NDArray[np.uint8]: ...
    def __getitem__(self, index: SupportsIndex | Indices) -> NDArray[np.uint8]:
        """`[C, r, r]` uint8 for a number, `[n, C, r, r]` for several; negative ones count from the end.

        Raises:
            IndexError: There is no such image.
            TypeError: These are no numbers of images.
        """
        if isinstance(index, slice):
            return self.read(range(*index.indices(len(self))))
        if np.ndim(index) == 0:  # type: ignore[arg-type]
            image: NDArray[np.uint8] = self.read(self._places([as_integer(index)]))[0]  # type: ignore[arg-type]
            return image
        return self.read(self._places(index))

    def __getitems__(self, indices: Sequence[int]) -> list[NDArray[np.uint8]]:
        """A minibatch, read at once: a `torch.utils.data.DataLoader` asks for it in this way."""
        return list(self.read(self._places(indices)))

    def _places(self, indices: object) -> NDArray[np.int64]:
        numbers = np.asarray(indices)
        if numbers.dtype == bool and numbers.shape == (len(self),):
            return np.flatnonzero(numbers)
        if numbers.ndim != 1 or (numbers.size and not np.issubdtype(numbers.dtype, np.integer)):
            raise TypeError(f"indices: numbers of images, or a mask of {len(self):,}, not {numbers.dtype}")
        numbers = numbers.astype(np.int64)
        return np.where(numbers < 0, numbers + len(self), numbers)


class PyramidLevel(MapStyle):
    """The images of a pyramid file at one resolution."""

    def __init__(self, reader: "PyramidReader", resolution: int) -> None:
        """Args: `resolution` is one of the reader's levels; others raise `ValueError`."""
        if resolution not in reader.levels:
            raise ValueError(f"resolution: {reader.path} has {reader.levels}, not {resolution}")
        self.reader, self.resolution = reader, resolution

    def __len__(self) -> int:
        return len(self.reader)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """See `PyramidReader.read`."""
        return self.reader.read(indices, self.resolution)
