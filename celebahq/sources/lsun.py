"""LSUN's categories: an LMDB of encoded pictures."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import ToolError, one_line
from celebahq.pictures.decoding import decode_photo
from celebahq.readers.isolation import run_apart
from celebahq.sources.catalogue import SOURCES
from celebahq.sources.data_set import DataSet, Example, ImportOptions
from celebahq.sources.listing import listing_sha256
from celebahq.sources.lmdb_file import list_keys, read_record, require_lmdb, require_whole
from celebahq.sources.squares import resized_square

LISTING_SEC = 3600
"""For the keys of millions of pictures on a slow disk."""


class Lsun(DataSet):
    """The largest centred square of each picture, scaled by Lanczos.

    Source: the paper's own data set tool, `create_lsun`.
    """

    source = SOURCES["lsun"]

    def __init__(self, path: Path, options: ImportOptions) -> None:
        if not (path / "data.mdb").is_file():
            raise ToolError(path, f"no data.mdb in it; {self.source.expects}; {self.source.origin}")
        require_lmdb()
        require_whole(path / "data.mdb")
        self.resolution, self.channels = options.resolution, 3
        self._path = path
        # Millions of keys: one array takes a third of the memory of separate objects.
        listing = run_apart(list_keys, str(path), name=str(path), seconds=LISTING_SEC)
        self._keys: bytes = listing["keys"]
        self._ends: NDArray[Any] = listing["ends"]
        if not len(self._ends):
            raise ToolError(path, "the LMDB is empty")

    def __len__(self) -> int:
        return len(self._ends)

    def facts(self) -> dict[str, Any]:
        """The list of keys."""
        return {"keys_sha256": listing_sha256(map(self.image_name, range(len(self))))}

    def read(self, index: int) -> Example:
        """One picture's centre square."""
        key = self._key(index).decode("latin1")
        value = run_apart(read_record, str(self._path), key, name=self.image_name(index))
        if value is None:
            raise ToolError(self.image_name(index), "its record cannot be found")
        photo = decode_photo(io.BytesIO(value), self.image_name(index))
        return Example(np.ascontiguousarray(resized_square(photo, self.resolution).transpose(2, 0, 1)))

    def image_name(self, index: int) -> str:
        """The key, with escapes for what is not text."""
        return one_line(self._key(index).decode("utf-8", "backslashreplace"))

    def _key(self, index: int) -> bytes:
        start = self._ends[index - 1] if index else 0
        return self._keys[start : self._ends[index]]
