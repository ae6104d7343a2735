"""LSUN's categories: an LMDB of encoded pictures."""

import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from celebahq.errors import FormatError, MissingExtraError, ToolError
from celebahq.pictures.decoding import decode_photo
from celebahq.sources.image_set import Example, ImageSet, ImportOptions
from celebahq.sources.importable import SOURCES
from celebahq.sources.listing import listing_sha256


class Lsun(ImageSet):
    """The largest centred square of each picture, scaled by Lanczos.

    Source: the paper's own data set tool, `create_lsun`.
    """

    source = SOURCES["lsun"]

    def __init__(self, path: Path, options: ImportOptions) -> None:
        if not (path / "data.mdb").is_file():
            raise ToolError(path, f"no data.mdb in it; {self.source.expects}; {self.source.origin}")
        self.resolution, self.channels = options.resolution, 3
        self._path = path
        with _open(path).begin() as transaction:
            # Millions of keys: a fixed width takes a third of the memory of separate objects.
            width = max((len(key) for key in transaction.cursor().iternext(values=False)), default=1)
            keys = (bytes(key) for key in transaction.cursor().iternext(values=False))
            self._keys = np.fromiter(keys, np.dtype(("S", width)))
        if not len(self._keys):
            raise ToolError(path, "the LMDB is empty")

    def __len__(self) -> int:
        return len(self._keys)

    def facts(self) -> dict[str, Any]:
        """The list of keys."""
        return {"keys_sha256": listing_sha256(map(_text, self._keys))}

    def read(self, index: int) -> Example:
        """One picture's centre square."""
        from PIL import Image

        with _open(self._path).begin(buffers=True) as transaction:
            value = transaction.get(bytes(self._keys[index]))
            if value is None:
                raise ToolError(self.image_name(index), "its record cannot be found")
            photo = decode_photo(io.BytesIO(value), self.image_name(index))
        height, width, _ = photo.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = Image.fromarray(photo[top : top + side, left : left + side])
        scaled = square.resize((self.resolution,) * 2, Image.Resampling.LANCZOS)
        return Example(np.ascontiguousarray(np.asarray(scaled).transpose(2, 0, 1)))

    def image_name(self, index: int) -> str:
        """The key."""
        return _text(self._keys[index])


@lru_cache(maxsize=1)  # LMDB allows to open a folder only once in a process
def _open(path: Path) -> Any:
    try:
        import lmdb
    except ImportError as err:
        raise MissingExtraError("lmdb", "lsun", "celebahq import lsun") from err
    try:
        return lmdb.open(str(path), readonly=True, lock=False, readahead=False)
    except lmdb.Error as err:
        raise FormatError(path, f"not an LMDB, or damaged ({err})") from err


def _text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")
