"""What HDF5 itself is asked for: the structure of a file, its columns, and images behind filters.

All functions take a descriptor of the open file, and its name for messages. `isolation.run_apart` calls them
in the helper process, for HDF5 and its filters crash on damaged files.
"""

import io
import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, TypedDict

import h5py
import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError, ToolError
from celebahq.formats.checksums import column_crc32
from celebahq.formats.chunks import ChunkTable, chunk_table, filter_numbers
from celebahq.formats.class_labels import class_numbers
from celebahq.formats.codecs import MAX_DEFLATE_RATIO, import_missing_plugins
from celebahq.readers.isolation import scratch

MAX_COLUMN_BYTES = 1 << 30
"""Of labels, or of one fact, in memory."""
MAX_CHUNK_BYTES = 1 << 30
SMALL_COLUMN_BYTES = 1 << 26
LABEL_PIECE_BYTES = 1 << 24
KEPT_FILES = 2


class DatasetFacts(TypedDict):
    """A data set as HDF5 describes it."""

    shape: list[int]
    dtype: str
    """As NumPy names it; `text` for strings."""
    chunks: list[int] | None
    filters: list[int]
    stored_bytes: int
    crc32: int | None
    """Of the stored chunks of a level, or of the values of a column; None where the file has none."""


class FileFacts(TypedDict):
    """A file as HDF5 describes it."""

    format: str | None
    format_version: int | None
    provenance: str
    crc32: int | None
    """Of all this but the values; None in files of version 1 and of the original's layout."""
    levels: dict[str, DatasetFacts]
    """All data sets at the root whose names start with `data`."""
    columns: dict[str, DatasetFacts]
    """`labels` and `meta/NAME`."""


def describe(file: int, name: str) -> FileFacts:
    """Everything about a file but its values.

    Raises:
        FormatError: HDF5 cannot read it, or an attribute has another type than it must.
    """
    with _opened(file, name) as h5:
        return facts_of(h5)


def facts_of(h5: h5py.File) -> FileFacts:
    """The same of an open file."""
    found, checksum = h5.attrs.get("format"), h5.attrs.get("crc32")
    return FileFacts(
        format=None if found is None else _text(found),
        format_version=None if found is None else int(h5.attrs["format_version"]),
        crc32=None if checksum is None else int(checksum),
        provenance=_text(h5.attrs.get("provenance", "{}")),
        levels={key: _describe(h5[key]) for key in h5 if key.startswith("data")},
        columns={key: _describe(h5[key]) for key in _column_names(h5)},
    )


def locate(file: int, name: str, level: str) -> ChunkTable:
    """The chunks of a level, in the order of its grid.

    Raises:
        FormatError: Images are missing or lie beyond the end of the file.
    """
    with _opened(file, name) as h5:
        dataset = h5[level]
        storage = chunk_table(dataset, f"{name}: {level}")
        end = os.fstat(file).st_size
        sizes, offsets = storage["sizes"], storage["offsets"]
        if (offsets < 0).any() or (sizes < 0).any() or (offsets > end - sizes).any():
            raise FormatError(name, f"{level}: images lie beyond the end of the file: it is truncated")
        return storage


def read_column(file: int, name: str, column: str) -> Any:
    """Labels or one fact of all images: an array of numbers, or a list of strings.

    Raises:
        FormatError: It is something else, or larger than the file and the memory can hold.
    """
    with _opened(file, name) as h5:
        dataset = h5[column]
        holds = SMALL_COLUMN_BYTES + MAX_DEFLATE_RATIO * os.fstat(file).st_size
        if prod(dataset.shape) * dataset.dtype.itemsize > min(MAX_COLUMN_BYTES, holds):
            raise FormatError(
                name, f"{column}: {dataset.shape} {dataset.dtype} is more than the file can hold"
            )
        if h5py.check_string_dtype(dataset.dtype):
            if dataset.ndim != 1:
                raise FormatError(name, f"{column}: {dataset.ndim} strings per image, expected one")
            return dataset.asstr()[:].tolist()
        if dataset.dtype.kind not in "biuf":
            raise FormatError(name, f"{column}: {dataset.dtype}, expected numbers or strings")
        return np.ascontiguousarray(dataset[()])


def read_class_numbers(file: int, name: str) -> dict[str, Any] | None:
    """Labels that are rows with a single 1, as class numbers, with their checksum; None if they are others.

    Read a piece at a time: as rows they may take more than the memory there is.

    Raises:
        FormatError: They are larger than the file can hold.
    """
    with _opened(file, name) as h5:
        dataset = h5["labels"]
        row_bytes = dataset.shape[1] * dataset.dtype.itemsize
        if len(dataset) * row_bytes > SMALL_COLUMN_BYTES + MAX_DEFLATE_RATIO * os.fstat(file).st_size:
            raise FormatError(name, f"labels: {dataset.shape} {dataset.dtype} is more than the file can hold")
        numbers, checksum = np.empty(len(dataset), np.int32), 0
        step = max(1, LABEL_PIECE_BYTES // row_bytes)
        for start in range(0, len(dataset), step):
            rows = dataset[start : start + step]
            some = class_numbers(rows)
            if some is None:
                return None
            numbers[start : start + step] = some
            checksum = column_crc32(rows, checksum)
        return {"numbers": numbers, "crc32": checksum}


def read_images(file: int, name: str, level: str, indices: list[int]) -> NDArray[np.uint8]:
    """Images of a level through HDF5's filters: `[n, C, r, r]` uint8.

    The file stays open for the next call, see `release`.
    """
    with _hdf5_errors(name):
        dataset = _kept(file)[level]
        import_missing_plugins(filter_numbers(dataset), name)
        if prod(dataset.chunks or (1,)) > MAX_CHUNK_BYTES:
            raise FormatError(name, f"{level}: chunks {dataset.chunks} are too large to read")
        out = scratch((len(indices), *dataset.shape[1:]))
        for position in np.argsort(indices, kind="stable"):  # neighbours share a chunk, which HDF5 keeps
            dataset.read_direct(out, np.s_[indices[position]], np.s_[int(position)])
        return out


def release(file: int, name: str) -> None:
    """Close what `read_images` kept open."""
    kept = _kept_files.pop(_identity(file), None)
    if kept is not None:
        kept.close()


_kept_files: "OrderedDict[tuple[int, ...], h5py.File]" = OrderedDict()


def _kept(file: int) -> h5py.File:
    identity = _identity(file)
    if identity not in _kept_files:
        _kept_files[identity] = h5py.File(_HeldFile(file), "r")
        if len(_kept_files) > KEPT_FILES:
            _kept_files.popitem(last=False)[1].close()
    return _kept_files[identity]


def _identity(file: int) -> tuple[int, ...]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class _HeldFile(io.RawIOBase):
    """The file that the caller holds, whatever has its name by now; its position is nobody else's."""

    def __init__(self, file: int) -> None:
        super().__init__()
        self._file, self._position = os.dup(file), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self._file).st_size}[
            whence
        ]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        size = os.preadv(self._file, [buffer], self._position)
        self._position += size
        return size

    def close(self) -> None:
        if not self.closed:
            os.close(self._file)
        super().close()


@contextmanager
def _opened(file: int, name: str) -> Iterator[h5py.File]:
    with _hdf5_errors(name), _HeldFile(file) as held, h5py.File(held, "r") as h5:
        yield h5


@contextmanager
def _hdf5_errors(name: str) -> Iterator[None]:
    """What h5py raises for damaged files, as `FormatError`."""
    try:
        yield
    except ToolError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as err:
        reason = re.sub(r"^.*\((.*)\)$", r"\1", " ".join(str(err).split()))
        raise FormatError(name, f"not a readable HDF5 file, or damaged ({reason})") from err


def _column_names(h5: h5py.File) -> list[str]:
    names = ["labels"] if "labels" in h5 else []
    return names + [f"meta/{name}" for name in h5["meta"]] if "meta" in h5 else names


def _describe(dataset: Any) -> DatasetFacts:
    if not isinstance(dataset, h5py.Dataset):
        raise TypeError(f"{dataset.name} is no data set")
    if dataset.is_virtual or dataset.external:
        raise FormatError(dataset.file.filename, f"{dataset.name} lies in other files; copy it into one")
    checksum = dataset.attrs.get("crc32")
    return DatasetFacts(
        shape=list(dataset.shape),
        dtype="text" if h5py.check_string_dtype(dataset.dtype) else str(dataset.dtype),
        chunks=list(dataset.chunks) if dataset.chunks else None,
        filters=filter_numbers(dataset),
        stored_bytes=dataset.id.get_storage_size(),
        crc32=None if checksum is None else int(checksum),
    )


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise TypeError(f"an attribute is {type(value).__name__}, not text")
    return value
