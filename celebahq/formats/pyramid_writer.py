"""Writing a pyramid file: chunks as they come, nothing under the final name before the end."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import deflate
import h5py
import numpy as np

from celebahq.errors import FormatError, ToolError
from celebahq.files import atomic_path, refuse_existing
from celebahq.formats.checksums import column_crc32, structure_crc32
from celebahq.formats.codecs import DEFAULT_CODEC, compress, dataset_options
from celebahq.formats.damage import damaged_parts
from celebahq.formats.hdf5_file import facts_of
from celebahq.formats.levels import (
    FORMAT_NAME,
    FORMAT_VERSION,
    chunk_shape,
    encode_image,
    level_name,
    level_resolutions,
)
from celebahq.formats.pyramid_file import PyramidFile

COLUMN_CHUNK_BYTES = 16384
MAX_COLUMN_CHUNK_ROWS = 1024
MAX_PROVENANCE_BYTES = 60_000
"""HDF5 keeps an attribute in 64 KiB."""


class PyramidWriter:
    """Writes a pyramid file that appears under its name only when complete and verified.

    Equal images, labels, facts and provenance give equal bytes, however they were divided into calls
    (with every codec but lzf).
    Memory does not grow with the number of images.
    """

    def __init__(
        self,
        path: Path | str,
        resolution: int,
        channels: int = 3,
        *,
        codec: str = DEFAULT_CODEC,
        provenance: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Start `PATH.partial`.

        Args:
            path: The file to make.
            resolution: Of the largest level, a power of two.
            channels: 3 for RGB, 1 for grey.
            codec: One of `celebahq.formats.codecs.CODECS`; h5py alone reads gzip, none and lzf.
            provenance: JSON facts that determine the content; may be replaced until the end.
            overwrite: Replace an existing file, at the end.

        Raises:
            ToolError: The file exists.
            MissingExtraError: The codec needs an optional dependency.
        """
        if channels not in (1, 3):
            raise ValueError(f"channels: expected 1 or 3, got {channels}")
        resolutions = level_resolutions(resolution)
        options = dataset_options(codec)
        self.path, self.resolution, self.channels, self.codec = Path(path), resolution, channels, codec
        self.provenance: Mapping[str, Any] = provenance or {}
        refuse_existing(self.path, overwrite=overwrite)

        self._count = 0
        self._columns: dict[str, _ColumnWriter] | None = None
        with ExitStack() as stack:
            self._partial = stack.enter_context(atomic_path(self.path))
            # The earliest file format has no timestamps, and every HDF5 release reads it.
            # The lock is `atomic_path`'s, which HDF5's own would not go together with.
            self._file = h5py.File(self._partial, "w", libver=("earliest", "v110"), locking=False)
            self._levels = [_LevelWriter(self._file, r, channels, codec, options) for r in resolutions]
            self._output = stack.pop_all()

    def __len__(self) -> int:
        return self._count

    def append(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        meta: Mapping[str, np.ndarray | Sequence[Any]] | None = None,
    ) -> None:
        """Add images.

        Args:
            images: `[n, C, r, r]` uint8.
            labels: `[n, L]`, stored as float32; for all images of the file or for none.
            meta: Facts about each image: name -> n strings, numbers or equal-shaped arrays; the same names
                in every call.
        """
        expected = (len(images), self.channels, self.resolution, self.resolution)
        if images.dtype != np.uint8 or images.shape != expected:
            raise ValueError(f"images: expected {expected} uint8, got {images.shape} {images.dtype}")
        for name, values in {"labels": labels, **(meta or {})}.items():
            if values is not None and len(values) != len(images):
                raise ValueError(f"{name}: {len(values)} values for {len(images)} images")
        for i, image in enumerate(images):
            self.append_encoded(
                encode_image(image, self.codec),
                None if labels is None else labels[i],
                {name: values[i] for name, values in (meta or {}).items()},
            )

    def append_encoded(
        self, blobs: Sequence[bytes], label: np.ndarray | None = None, meta: Mapping[str, Any] | None = None
    ) -> None:
        """Add one image that `encode_image` has compressed with this file's codec.

        Args:
            blobs: One per level, largest first.
            label: `[L]`.
            meta: name -> string, number or array.
        """
        if len(blobs) != len(self._levels):
            raise ValueError(f"blobs: expected {len(self._levels)}, one per level, got {len(blobs)}")
        facts: dict[str, Any] = {f"meta/{name}": value for name, value in (meta or {}).items()}
        if label is not None:
            facts["labels"] = np.asarray(label, np.float32)
        if self._columns is None:
            self._columns = {name: _ColumnWriter(self._file, name, value) for name, value in facts.items()}
        if facts.keys() != self._columns.keys():
            raise ValueError(f"meta: {sorted(facts)}, but earlier images have {sorted(self._columns)}")
        for level, blob in zip(self._levels, blobs, strict=True):
            level.append(blob)
        for name, value in facts.items():
            self._columns[name].append(value)
        self._count += 1

    def close(self) -> None:
        """Complete, verify and rename the file.

        Raises:
            ToolError: No image was added.
            FormatError: What can be read back is not what was written.
        """
        with self._output:
            with self._file:
                self._finish()
            with closing(PyramidFile(self._partial)) as written:
                damaged = damaged_parts(written)
                for column in written.facts["columns"]:
                    written.column(column)  # or it raises
            if damaged:
                raise FormatError(self.path, f"not written, as {', '.join(damaged)} cannot be read back")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        with suppress(OSError, RuntimeError):  # a full disk fails here once more
            self._file.close()
        self._output.__exit__(kind, value, trace)

    def _finish(self) -> None:
        if not self._count:
            raise ToolError(self.path, "not written, as there are no images to put in it")
        provenance = json.dumps(self.provenance, sort_keys=True, ensure_ascii=False)
        if len(provenance.encode()) > MAX_PROVENANCE_BYTES:
            raise ValueError(f"provenance: more than {MAX_PROVENANCE_BYTES:,} bytes of JSON")
        for level in self._levels:
            level.finish()
        for column in (self._columns or {}).values():
            column.finish()
        self._file.attrs["format"] = FORMAT_NAME
        self._file.attrs["format_version"] = FORMAT_VERSION
        self._file.attrs["provenance"] = provenance
        self._file.attrs["crc32"] = np.uint32(structure_crc32(facts_of(self._file)))


class _LevelWriter:
    """Appends images to one level; below 32 px it collects them into chunks."""

    def __init__(
        self, file: h5py.File, resolution: int, channels: int, codec: str, options: Mapping[str, Any]
    ) -> None:
        self._codec = codec
        self._chunk_shape = chunk_shape(resolution, channels)
        self._dataset = file.create_dataset(
            level_name(resolution),
            shape=(0, *self._chunk_shape[1:]),
            maxshape=(None, *self._chunk_shape[1:]),
            chunks=self._chunk_shape,
            dtype=np.uint8,
            **options,
        )
        self._pending = bytearray()
        self._count = 0
        self._checksum = 0

    def append(self, blob: bytes) -> None:
        if self._chunk_shape[0] == 1:
            self._store(blob, images=1)
            return
        self._pending += blob
        if len(self._pending) == prod(self._chunk_shape):
            self._store_pending()

    def finish(self) -> None:
        if self._pending:
            self._store_pending()
        self._dataset.attrs["crc32"] = np.uint32(self._checksum)

    def _store_pending(self) -> None:
        images = len(self._pending) // prod(self._chunk_shape[1:])
        padding = bytes(prod(self._chunk_shape) - len(self._pending))
        chunk = np.frombuffer(bytes(self._pending) + padding, np.uint8).reshape(self._chunk_shape)
        self._store(compress(chunk, self._codec), images)
        self._pending.clear()

    def _store(self, blob: bytes, images: int) -> None:
        skips_filter = self._codec != "none" and len(blob) == prod(self._chunk_shape)
        start = self._count
        self._count += images
        self._dataset.resize(self._count, axis=0)
        self._dataset.id.write_direct_chunk((start, 0, 0, 0), blob, int(skips_filter))
        self._checksum = deflate.crc32(blob, self._checksum)


class _ColumnWriter:
    """Appends one value per image to `labels` or `meta/NAME`, a chunk at a time."""

    def __init__(self, file: h5py.File, name: str, first: Any) -> None:
        options: dict[str, Any] = {}
        if isinstance(first, str):
            self._dtype, self._shape, row_bytes = h5py.string_dtype(), (), 16
        else:
            first = np.asarray(first)
            if first.dtype.kind not in "biuf" or first.dtype.itemsize > 8:
                raise ValueError(f"{name}: expected a string or numbers, got {first.dtype}")
            self._dtype, self._shape, row_bytes = first.dtype, first.shape, max(1, first.nbytes)
            options["compression"] = "gzip"
        self._rows_per_chunk = max(1, min(MAX_COLUMN_CHUNK_ROWS, COLUMN_CHUNK_BYTES // row_bytes))
        self._dataset = file.create_dataset(
            name,
            shape=(0, *self._shape),
            maxshape=(None, *self._shape),
            chunks=(self._rows_per_chunk, *self._shape),
            dtype=self._dtype,
            **options,
        )
        self._pending: list[Any] = []
        self._checksum = 0

    def append(self, value: Any) -> None:
        if not isinstance(value, str):
            value = np.asarray(value)
        elif "\0" in value:
            raise ValueError(
                f"{self._dataset.name}: {value!r} holds a NUL, which HDF5 takes for the end of text"
            )
        dtype = h5py.string_dtype() if isinstance(value, str) else value.dtype
        if np.shape(value) != self._shape or not np.can_cast(dtype, self._dtype):
            raise ValueError(
                f"{self._dataset.name}: {np.shape(value)} {dtype}, earlier {self._shape} {self._dtype}"
            )
        self._pending.append(value)
        if len(self._pending) == self._rows_per_chunk:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._dataset.attrs["crc32"] = np.uint32(self._checksum)

    def _flush(self) -> None:
        start = len(self._dataset)
        self._dataset.resize(start + len(self._pending), axis=0)
        values = np.array(self._pending, self._dtype).reshape(-1, *self._shape)
        self._dataset[start:] = values
        self._checksum = column_crc32(self._pending if values.dtype.hasobject else values, self._checksum)
        self._pending.clear()
