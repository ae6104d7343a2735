"""What a source of faces hands to the build: an index, and one record per face."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

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
    facts: dict[str, Any]
    """What else is known about it, for `meta/`."""


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
    facts: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Name -> `(N, ...)`: what else is known about each face."""

    numbers: NDArray[np.int64] | None = None
    """`(N,)` each face's position in the source, where some are left out."""

    def __len__(self) -> int:
        return len(self.names)

    def take(self, positions: Sequence[int]) -> "FaceIndex":
        """Some of the faces, which keep their numbers."""
        chosen = np.asarray(positions, np.int64)
        return FaceIndex(
            self.folder,
            tuple(self.names[i] for i in positions),
            self.landmarks[chosen],
            self.orient,
            None if self.labels is None else self.labels[chosen],
            self.label_names,
            {name: column[chosen] for name, column in self.facts.items()},
            chosen if self.numbers is None else self.numbers[chosen],
        )

    @overload
    def __getitem__(self, index: int) -> FaceRecord: ...
    @overload
    def __getitem__(self, index: slice) -> "FaceIndex": ...
    def __getitem__(self, index: int | slice) -> "FaceRecord | FaceIndex":
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        position = range(len(self))[index]
        return FaceRecord(
            position if self.numbers is None else int(self.numbers[position]),
            self.folder / self.names[position],
            self.names[position],
            self.landmarks[position],
            self.orient,
            None if self.labels is None else self.labels[position],
            {name: column[position] for name, column in self.facts.items()},
        )
