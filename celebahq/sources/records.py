"""What a source of faces hands to the build: an index, and one record per face."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FaceRecord:
    """One face in one photo."""

    index: int
    """Position in the source, from 0; CelebA's `orig_idx`."""
    path: Path
    name: str
    """The photo's path below the source folder, with `/`."""
    landmarks: NDArray[np.float64]
    """`(5, 2)` xy pixel indices, see `celebahq.crop_quad`."""
    orient: bool
    """Whether the landmarks refer to the photo turned as its EXIF orientation says."""
    label: NDArray[np.float32] | None
    """`(L,)`, or None without labels."""


@dataclass(frozen=True, eq=False)
class FaceIndex(Sequence[FaceRecord]):
    """All faces of a source, in its order; kept as columns, since there may be hundreds of thousands."""

    folder: Path
    """Where `names` begin."""
    names: tuple[str, ...]
    landmarks: NDArray[np.float64]
    """`(N, 5, 2)`."""
    orient: bool
    labels: NDArray[np.float32] | None = None
    """`(N, L)`."""
    label_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> FaceRecord: ...
    @overload
    def __getitem__(self, index: slice) -> "FaceIndex": ...
    def __getitem__(self, index: int | slice) -> "FaceRecord | FaceIndex":
        labels = None if self.labels is None else self.labels[index]
        names = self.names[index]
        if isinstance(index, slice):
            return FaceIndex(
                self.folder, tuple(names), self.landmarks[index], self.orient, labels, self.label_names
            )
        assert isinstance(names, str)
        return FaceRecord(
            range(len(self))[index], self.folder / names, names, self.landmarks[index], self.orient, labels
        )
