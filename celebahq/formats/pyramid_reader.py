"""Reading a pyramid file: minibatches at random, from any number of threads and processes."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
from celebahq.formats.codecs import import_missing_plugins
from celebahq.formats.levels import level_name
from celebahq.formats.map_style import MapStyle, PyramidLevel
from celebahq.formats.structure import check_format, check_levels, is_numeric
from celebahq.readers.isolation import run_apart
from celebahq.readers.npy import map_npy

MAX_THREADS = 8
PARALLEL_BYTES = 1 << 18
"""Smaller reads are not worth a second thread."""
APART_BYTES = 1 << 24
"""Of images that the helper process is asked for at once."""


class PyramidReader(MapStyle):
    """Random access to the images of a pyramid file, `reader[i]` at full resolution.

    It may be pickled, and used after a fork. It reads the one file that it opened: when another takes its
    name, it goes on with the old one, and when the file itself is changed, that is an error.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        """Check the file's structure.

        Args:
            path: A pyramid file, or one of the original's layout.
            threads: To inflate with in each process; the machine's processors, at most 8, unless told.

        Raises:
            ToolError: There is no such file.
            FormatError: It is not a pyramid, is damaged, or comes from a later version of this tool.
        """
        self.path = Path(path)
        self.threads = threads or min(MAX_THREADS, os.cpu_count() or 1)
        self._descriptor: int | None = None
        self._descriptor = _open_file(self.path)
        self._identity = _Identity.of(self._descriptor)
        self.facts: hdf5_file.FileFacts = run_apart(
            hdf5_file.describe, name=str(self.path), file=self._descriptor
        )
        """The file as HDF5 describes it."""
        self.format_version = check_format(self.path, self.facts)
        """None for a file of the original's layout."""
        self.levels = check_levels(self.path, self.facts, self._identity.size)
        """Resolutions, largest first."""
        self.resolution = self.levels[0]
        self._count: int = self.facts["levels"][level_name(self.resolution)]["shape"][0]
        self.channels: int = self.facts["levels"][level_name(self.resolution)]["shape"][1]
        self.provenance: dict[str, Any] = parse_json(self.facts["provenance"], f"{self.path}: provenance")
        columns = self.facts["columns"]
        self.meta_names = [name.removeprefix("meta/") for name in columns if name.startswith("meta/")]
        self._stored: dict[int, tuple[StoredLevel, bool]] = {}
        self._process = _ProcessState()

    def __len__(self) -> int:
        return self._count

    def at(self, resolution: int) -> PyramidLevel:
        """The same images at another resolution of the file, as a data set.

        Raises:
            ValueError: The file has no such level.
        """
        return PyramidLevel(self, resolution)

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_again, (self.path, self.threads, self._identity)

    @cached_property
    def labels(self) -> np.ndarray | None:
        """`[N, L]` float32, from the file or from `NAME-labels.npy` beside it; None without labels.

        Raises:
            FormatError: They do not fit the images, or are damaged.
        """
        inside = self.facts["columns"].get("labels")
        if inside is not None:
            self._check_labels(f"{self.path}: labels", inside["shape"], inside["dtype"])
            return _as_float32(self.column("labels"))
        beside = self.path.with_name(f"{self.path.stem}-labels.npy")
        if self.format_version is not None or not beside.is_file():
            return None
        labels = map_npy(beside)
        self._check_labels(str(beside), labels.shape, str(labels.dtype))
        return _as_float32(labels)

    def meta(self, name: str) -> np.ndarray:
        """One fact for every image: `[N, ...]`, strings as objects.

        Raises:
            KeyError: The file has no such fact; `meta_names` lists them.
            FormatError: It is damaged.
        """
        if name not in self.meta_names:
            raise KeyError(f"{self.path}: no meta/{name}; there are: {', '.join(self.meta_names) or 'none'}")
        return self.column(f"meta/{name}")

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
        values = run_apart(hdf5_file.read_column, column, name=str(self.path), file=self._file())
        if facts["crc32"] is not None and column_crc32(values) != facts["crc32"]:
            raise FormatError(self.path, f"{column}: not the values that were written (CRC-32)")
        return values if isinstance(values, np.ndarray) else np.array(values, object)

    def read(self, indices: Sequence[int] | np.ndarray, resolution: int | None = None) -> np.ndarray:
        """Images of one level.

        Args:
            indices: `[n]` in any order, repeats allowed, 0 <= index < len.
            resolution: The level, the largest unless told.

        Returns:
            `[n, C, r, r]` uint8.

        Raises:
            IndexError: An index out of range.
            FormatError: The file is damaged, or was changed since it was opened.
        """
        resolution = self.resolution if resolution is None else resolution
        if resolution not in self.levels:
            raise ValueError(f"resolution: {self.path} has {self.levels}, not {resolution}")
        indices = np.asarray(indices, np.int64).reshape(-1)
        out = np.empty((len(indices), self.channels, resolution, resolution), np.uint8)
        if not len(indices):
            return out
        if not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"{self.path}: {len(self):,} images, asked for {indices.min()}..{indices.max()}")
        descriptor = self._file()
        level, plain = self.located(resolution)
        if plain:
            self._read_stored(descriptor, level, indices, out)
        else:
            self._read_apart(descriptor, resolution, indices, out)
        return out

    def located(self, resolution: int) -> tuple[StoredLevel, bool]:
        """Where a level's chunks lie, and whether they can be read without HDF5.

        Raises:
            FormatError: Images are missing, or lie beyond the end of the file.
        """
        with self._this_process().lock:
            if resolution not in self._stored:
                name = level_name(resolution)
                found: ChunkTable = run_apart(hdf5_file.locate, name, name=str(self.path), file=self._file())
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

    def stored_bytes(self, offset: int, size: int) -> bytes:
        """Bytes of the file as they are stored."""
        return os.pread(self._file(), size, offset)

    def close(self) -> None:
        """Close the file; the next `read` opens it again."""
        if self._descriptor is not None:
            if any(not plain for _, plain in self._stored.values()):
                run_apart(hdf5_file.release, name=str(self.path), file=self._descriptor)
            os.close(self._descriptor)
        self._descriptor = None
        self._process.close()
        self._process = _ProcessState()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)  # type: ignore[arg-type]

    def _file(self) -> int:
        """The descriptor of the file that was opened first.

        Raises:
            FormatError: Another file has its name by now, or it was changed.
        """
        if self._descriptor is None:
            self._descriptor = _open_file(self.path)
        if _Identity.of(self._descriptor) != self._identity:
            raise FormatError(self.path, "changed since it was opened; start again")
        return self._descriptor

    def _read_stored(self, descriptor: int, level: StoredLevel, indices: np.ndarray, out: np.ndarray) -> None:
        groups = level.plan(indices)

        def read_groups(first: int, step: int) -> None:
            for positions in groups[first::step]:
                level.read(descriptor, indices, positions, out)

        threads = min(self.threads, len(groups)) if out.nbytes >= PARALLEL_BYTES else 1
        if threads == 1:
            read_groups(0, 1)
            return
        jobs = [
            self._this_process().pool(self.threads).submit(read_groups, i, threads) for i in range(threads)
        ]
        for job in jobs:
            job.result()

    def _read_apart(self, descriptor: int, resolution: int, indices: np.ndarray, out: np.ndarray) -> None:
        """Through HDF5, in the helper process: for filters that only HDF5 knows."""
        step = max(1, APART_BYTES // prod(out.shape[1:]))
        order = np.argsort(indices, kind="stable")  # so that no chunk is decoded for two pieces
        for start in range(0, len(order), step):
            positions = order[start : start + step]
            run_apart(
                hdf5_file.read_images,
                level_name(resolution),
                indices[positions].tolist(),
                name=str(self.path),
                file=descriptor,
                take=partial(out.__setitem__, positions),
            )

    def _this_process(self) -> "_ProcessState":
        if self._process.pid != os.getpid():
            self._process = _ProcessState()
        return self._process

    def _check_labels(self, source: str, shape: Sequence[int], dtype: str) -> None:
        if len(shape) != 2 or shape[0] != len(self) or not is_numeric(dtype):
            raise FormatError(
                source, f"{tuple(shape)} {dtype}, expected [{len(self)}, L] numbers, a row per image"
            )


class _Identity(NamedTuple):
    """What tells a file from another of the same name, on whatever machine the file system is mounted."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, descriptor: int) -> "_Identity":
        found = os.fstat(descriptor)
        return cls(found.st_size, found.st_mtime_ns)


class _ProcessState:
    """What must not be shared with a forked process: the threads and their lock."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.RLock()
        self._pool: ThreadPoolExecutor | None = None

    def pool(self, threads: int) -> ThreadPoolExecutor:
        with self.lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pyramid")
            return self._pool

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()


def _as_float32(labels: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # too large a number becomes infinite, which `verify` reports
        return np.array(labels, np.float32)


def _open_file(path: Path) -> int:
    if not path.is_file():
        raise ToolError(path, "no such file")
    return os.open(path, os.O_RDONLY)


def _open_again(path: Path, threads: int, identity: _Identity) -> PyramidReader:
    """What another process makes of a pickled reader."""
    reader = PyramidReader(path, threads=threads)
    if reader._identity != identity:
        raise FormatError(path, "changed since it was opened; start again")
    return reader
