"""One pyramid file: what HDF5 says about it, its columns, and where its images lie."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from celebahq.errors import FormatError, ToolError
from celebahq.files import parse_json
from celebahq.formats import hdf5_file
from celebahq.formats.checksums import column_crc32
from celebahq.formats.chunks import ChunkTable, StoredLevel
from celebahq.formats.class_labels import ROWS_BYTES, ClassLabels, Labels
from celebahq.formats.codecs import import_missing_plugins
from celebahq.formats.levels import level_name
from celebahq.formats.structure import check_format, check_levels, is_numeric
from celebahq.readers.isolation import run_apart
from celebahq.readers.npy import map_npy

APART_BYTES = 1 << 24
"""Of images that the helper process is asked for at once."""

LABELS_LIMIT_SEC = 1800
"""Labels of a thousand classes and millions of images are gigabytes before they are class numbers."""

Piece = Callable[[], None]
"""Reads some images into their place; any thread may, in any order."""


class PyramidFile:
    """One HDF5 file with the images at every resolution.

    It reads the one file that it opened: when another takes its name, it goes on with the old one, and when
    the file itself is changed, that is an error.
    """

    def __init__(self, path: Path) -> None:
        """Check the file's structure.

        Raises:
            ToolError: There is no such file.
            FormatError: It is not a pyramid, is damaged, or comes from a later version of this tool.
        """
        self.path = path
        self._open: _OpenFile | None = _OpenFile(path)
        self.identity = self._open.identity
        self.facts: hdf5_file.FileFacts = run_apart(
            hdf5_file.describe, name=str(path), file=self._open.descriptor
        )
        """The file as HDF5 describes it."""
        self.format_version = check_format(path, self.facts)
        """None for a file of the original's layout."""
        self.levels = check_levels(path, self.facts, self.identity.size)
        """Resolutions, largest first."""
        self._count: int = self.facts["levels"][level_name(self.levels[0])]["shape"][0]
        self.channels: int = self.facts["levels"][level_name(self.levels[0])]["shape"][1]
        self.provenance: dict[str, Any] = parse_json(self.facts["provenance"], f"{path}: provenance")
        columns = self.facts["columns"]
        self.meta_names = [name.removeprefix("meta/") for name in columns if name.startswith("meta/")]
        self._stored: dict[int, tuple[StoredLevel, bool]] = {}

    def __len__(self) -> int:
        return self._count

    @cached_property
    def labels(self) -> Labels | None:
        """`[N, L]` float32, from the file or from `NAME-labels.npy` beside it; None without labels.

        Those of many classes are held as class numbers.

        Raises:
            FormatError: They do not fit the images, or are damaged.
        """
        inside = self.facts["columns"].get("labels")
        if inside is not None:
            self._check_labels(f"{self.path}: labels", inside["shape"], inside["dtype"])
            if 4 * prod(inside["shape"]) > ROWS_BYTES and (many := self._class_labels(inside)):
                return many
            return _as_float32(self.column("labels"))
        beside = self.path.with_name(f"{self.path.stem}-labels.npy")
        if self.format_version is not None or not beside.is_file():
            return None
        labels = map_npy(beside)
        self._check_labels(str(beside), labels.shape, str(labels.dtype))
        return _as_float32(labels)

    def _class_labels(self, facts: hdf5_file.DatasetFacts) -> ClassLabels | None:
        """The labels as class numbers, where each row has a single 1."""
        file = self._file()
        found = run_apart(
            hdf5_file.read_class_numbers,
            name=str(self.path),
            file=file.descriptor,
            seconds=LABELS_LIMIT_SEC,
        )
        if found is None:
            return None
        if facts["crc32"] is not None and found["crc32"] != facts["crc32"]:
            raise FormatError(self.path, "labels: not the values that were written (CRC-32)")
        return ClassLabels(found["numbers"], facts["shape"][1])

    def column(self, column: str) -> np.ndarray:
        """The values of `labels` or `meta/NAME` as they are stored, held against their checksum.

        Raises:
            FormatError: They are damaged, or not one for each image.
        """
        facts = self.facts["columns"][column]
        if facts["shape"][:1] != [len(self)]:
            raise FormatError(
                self.path, f"{column} has {(facts['shape'] or [0])[0]:,} rows, not {len(self):,}"
            )
        file = self._file()
        values = run_apart(hdf5_file.read_column, column, name=str(self.path), file=file.descriptor)
        if facts["crc32"] is not None and column_crc32(values) != facts["crc32"]:
            raise FormatError(self.path, f"{column}: not the values that were written (CRC-32)")
        return values if isinstance(values, np.ndarray) else np.array(values, object)

    def located(self, resolution: int) -> tuple[StoredLevel, bool]:
        """Where a level's chunks lie, and whether they can be read without HDF5.

        Raises:
            FormatError: Images are missing, or lie beyond the end of the file.
        """
        if resolution not in self._stored:
            name = level_name(resolution)
            file = self._file()
            found: ChunkTable = run_apart(hdf5_file.locate, name, name=str(self.path), file=file.descriptor)
            facts = self.facts["levels"][name]
            level = StoredLevel(
                f"{self.path}: {name}",
                tuple(facts["shape"]),
                tuple(facts["chunks"] or facts["shape"]),
                bool(facts["filters"]),
                found["offsets"],
                found["sizes"],
            )
            if not found["plain"]:
                import_missing_plugins(facts["filters"], str(self.path))
            self._stored[resolution] = level, found["plain"]
        return self._stored[resolution]

    def pieces(
        self, resolution: int, indices: np.ndarray, positions: np.ndarray, out: np.ndarray
    ) -> Iterator[Piece]:
        """The work of reading some images.

        Args:
            resolution: The level.
            indices: `[n]` numbers of images of this file, where `positions` points to.
            positions: Which of them to read, and where in `out` they go.
            out: `[n, C, r, r]` uint8.

        Raises:
            FormatError: The file was changed since it was opened.
        """
        file = self._file()
        level, plain = self.located(resolution)
        if plain:
            for group in level.plan(indices[positions]):
                yield partial(_read_stored, file, level, indices, positions[group], out)
        else:
            yield partial(self._read_apart, file, resolution, indices, positions, out)

    def stored_bytes(self, offset: int, size: int) -> bytes:
        """Bytes of the file as they are stored."""
        file = self._file()
        return os.pread(file.descriptor, size, offset)

    def close(self) -> None:
        """Let go of the file; whatever is asked next opens it again."""
        if self._open is not None and any(not plain for _, plain in self._stored.values()):
            run_apart(hdf5_file.release, name=str(self.path), file=self._open.descriptor)
        self._open = None

    def _file(self) -> "_OpenFile":
        """The file that was opened first.

        Raises:
            FormatError: Another file has its name by now, or it was changed.
        """
        if self._open is None:
            self._open = _OpenFile(self.path)
        if self._open.identity != self.identity:
            raise changed(self.path)
        return self._open

    def _read_apart(
        self,
        file: "_OpenFile",
        resolution: int,
        indices: np.ndarray,
        positions: np.ndarray,
        out: np.ndarray,
    ) -> None:
        """Through HDF5, in the helper process: for filters that only HDF5 knows."""
        step = max(1, APART_BYTES // prod(out.shape[1:]))
        # In the file's order, so that no chunk is decoded for two pieces.
        order = positions[np.argsort(indices[positions], kind="stable")]
        for start in range(0, len(order), step):
            some = order[start : start + step]
            run_apart(
                hdf5_file.read_images,
                level_name(resolution),
                indices[some].tolist(),
                name=str(self.path),
                file=file.descriptor,
                take=partial(out.__setitem__, some),
            )

    def _check_labels(self, source: str, shape: Sequence[int], dtype: str) -> None:
        if len(shape) != 2 or shape[0] != len(self) or not is_numeric(dtype):
            raise FormatError(
                source, f"{tuple(shape)} {dtype}, expected [{len(self)}, L] numbers, a row per image"
            )


class Identity(NamedTuple):
    """What tells a file from another of the same name, on whatever machine the file system is mounted."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Self:
        """That of a file as the system describes it."""
        return cls(found.st_size, found.st_mtime_ns)


def changed(path: Path) -> FormatError:
    """The error of a file that is not the one that was opened."""
    return FormatError(path, "changed since it was opened; start again")


class _OpenFile:
    """A descriptor, which lives as long as somebody reads from it."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ToolError(path, "no such file")
        self.descriptor = os.open(path, os.O_RDONLY)

    @property
    def identity(self) -> Identity:
        return Identity.of(os.fstat(self.descriptor))

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


def _read_stored(
    file: _OpenFile, level: StoredLevel, indices: np.ndarray, positions: np.ndarray, out: np.ndarray
) -> None:
    level.read(file.descriptor, indices, positions, out)


def _as_float32(labels: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # too large a number becomes infinite, which `verify` reports
        return np.array(labels, np.float32)
