"""Reading a pyramid file: minibatches at random, from any number of threads and processes."""

import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from celebahq.errors import FormatError, ToolError
from celebahq.formats.chunks import StoredLevel, filter_numbers, stored_crc32
from celebahq.formats.codecs import codec_name, import_plugins
from celebahq.formats.levels import FORMAT_NAME, FORMAT_VERSION, level_name, level_resolutions

MAX_THREADS = 8
PARALLEL_BYTES = 1 << 18
"""Smaller reads are not worth a second thread."""


class PyramidReader:
    """Random access to the images of a pyramid file.

    It may be pickled, and used after a fork: every process opens the file for itself.
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
        with open_hdf5(self.path) as file:
            self.format_version = _read_format_version(self.path, file)
            """None for a file of the original's layout."""
            shapes = _read_level_shapes(self.path, file, complete=self.format_version is not None)
            self.provenance: dict[str, Any] = json.loads(file.attrs.get("provenance", "{}"))
            self.meta_names: list[str] = list(file["meta"]) if "meta" in file else []
            self._has_labels = "labels" in file
        self.levels = list(shapes)
        """Resolutions, largest first."""
        self.resolution = self.levels[0]
        self._count, self.channels = shapes[self.resolution][:2]
        self._stored: dict[int, StoredLevel | None] = {}
        self._process = _ProcessState(self.path)

    def __len__(self) -> int:
        return self._count

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_reader, (self.path, self.threads)

    @cached_property
    def labels(self) -> np.ndarray | None:
        """`[N, L]` float32, from the file or from `NAME-labels.npy` beside it; None without labels.

        Raises:
            FormatError: They do not fit the images.
        """
        if self._has_labels:
            with open_hdf5(self.path) as file:
                return self._checked_labels(f"{self.path}: labels", file["labels"])
        beside = self.path.with_name(f"{self.path.stem}-labels.npy")
        if self.format_version is not None or not beside.is_file():
            return None
        try:
            labels = np.load(beside, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as err:
            raise FormatError(f"{beside}: not an array of numbers in NumPy's format ({err})") from err
        return self._checked_labels(str(beside), labels)

    def meta(self, name: str) -> np.ndarray:
        """One fact for every image: `[N, ...]`, strings as objects.

        Raises:
            KeyError: The file has no such fact; `meta_names` lists them.
        """
        if name not in self.meta_names:
            raise KeyError(f"{self.path}: no meta/{name}; there are: {', '.join(self.meta_names) or 'none'}")
        with open_hdf5(self.path) as file:
            dataset = file["meta"][name]
            if len(dataset) != len(self):
                raise FormatError(f"{self.path}: meta/{name} has {len(dataset):,} rows, not {len(self):,}")
            values: np.ndarray = (dataset.asstr() if h5py.check_string_dtype(dataset.dtype) else dataset)[:]
        return values

    def read(self, indices: Sequence[int] | np.ndarray, resolution: int | None = None) -> np.ndarray:
        """Images of one level.

        Args:
            indices: `[n]` in any order, repeats allowed, 0 <= index < len.
            resolution: The level, the largest unless told.

        Returns:
            `[n, C, r, r]` uint8.

        Raises:
            IndexError: An index out of range.
            FormatError: The file is damaged.
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
        process = self._this_process()
        level = self._located(process, resolution)
        if level is None:
            process.read_by_hdf5(level_name(resolution), indices, out)
        else:
            self._read_stored(process, level, indices, out)
        return out

    def close(self) -> None:
        """Close the file; the next `read` opens it again."""
        self._process.close()
        self._process = _ProcessState(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_stored(
        self, process: "_ProcessState", level: StoredLevel, indices: np.ndarray, out: np.ndarray
    ) -> None:
        groups = level.plan(indices)
        descriptor = process.descriptor

        def read_groups(first: int, step: int) -> None:
            for positions in groups[first::step]:
                level.read(descriptor, indices, positions, out)

        threads = min(self.threads, len(groups)) if out.nbytes >= PARALLEL_BYTES else 1
        if threads == 1:
            read_groups(0, 1)
            return
        jobs = [process.pool(self.threads).submit(read_groups, i, threads) for i in range(threads)]
        for job in jobs:
            job.result()

    def _this_process(self) -> "_ProcessState":
        if self._process.pid != os.getpid():
            self._process = _ProcessState(self.path)
        return self._process

    def _located(self, process: "_ProcessState", resolution: int) -> StoredLevel | None:
        with process.lock:
            if resolution not in self._stored:
                name = level_name(resolution)
                with open_hdf5(self.path) as file:
                    self._stored[resolution] = StoredLevel.locate(file[name], f"{self.path}: {name}")
        return self._stored[resolution]

    def _checked_labels(self, source: str, labels: Any) -> np.ndarray:
        """Args: `labels` is a data set or an array, not yet in memory."""
        if len(labels.shape) != 2 or len(labels) != len(self) or labels.dtype.kind not in "biuf":
            raise FormatError(
                f"{source}: {labels.shape} {labels.dtype}, expected [{len(self)}, L] numbers, a row per image"
            )
        return np.asarray(labels[:], np.float32)


class _ProcessState:
    """What must not be shared with a forked process: the open file, the threads and their lock."""

    def __init__(self, path: Path) -> None:
        self.pid = os.getpid()
        self.lock = threading.RLock()
        self._path = path
        self._descriptor: int | None = None
        self._hdf5: h5py.File | None = None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def descriptor(self) -> int:
        with self.lock:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDONLY)
            return self._descriptor

    def pool(self, threads: int) -> ThreadPoolExecutor:
        with self.lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pyramid")
            return self._pool

    def read_by_hdf5(self, name: str, indices: np.ndarray, out: np.ndarray) -> None:
        """Read through h5py, under its lock: for filters that only HDF5 knows."""
        with self.lock, _hdf5_errors(self._path):
            if self._hdf5 is None:
                self._hdf5 = h5py.File(self._path, "r")
            dataset = self._hdf5[name]
            for number in filter_numbers(dataset):
                if not h5py.h5z.filter_avail(number):
                    import_plugins(f"{self._path}: reading {codec_name([number])}")
            for position in np.argsort(indices):  # neighbours share a chunk, which HDF5 keeps
                out[position] = dataset[indices[position]]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        if self._hdf5 is not None:
            self._hdf5.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._pool = self._hdf5 = self._descriptor = None

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def damaged_levels(path: Path) -> list[str]:
    """Names of the levels whose stored chunks have not the checksum that was written with them.

    Raises:
        FormatError: The file's structure is damaged.
    """
    levels = PyramidReader(path).levels
    with open_hdf5(path) as file, path.open("rb", buffering=0) as raw:
        return [
            name
            for name in map(level_name, levels)
            if "crc32" in file[name].attrs
            and stored_crc32(file[name], raw.fileno()) != file[name].attrs["crc32"]
        ]


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading, with its failures as `FormatError`."""
    if not path.is_file():
        raise ToolError(f"{path}: no such file")
    with _hdf5_errors(path), h5py.File(path, "r") as file:
        yield file


@contextmanager
def _hdf5_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as err:
        reason = re.sub(r"^.*\((.*)\)$", r"\1", " ".join(str(err).split()))
        raise FormatError(f"{path}: not a readable HDF5 file, or damaged ({reason})") from err


def _open_reader(path: Path, threads: int) -> PyramidReader:
    return PyramidReader(path, threads=threads)


def _read_format_version(path: Path, file: h5py.File) -> int | None:
    """The version in the file; None for the original's layout."""
    name = file.attrs.get("format")
    if name is None:
        return None
    if name != FORMAT_NAME:
        raise FormatError(f"{path}: format {name!r}, expected {FORMAT_NAME!r}")
    version = int(file.attrs["format_version"])
    if version > FORMAT_VERSION:
        raise FormatError(
            f"{path}: format version {version}, and this tool reads up to {FORMAT_VERSION}: update it"
        )
    return version


def _read_level_shapes(path: Path, file: h5py.File, *, complete: bool) -> dict[int, tuple[int, ...]]:
    """Shape of each level, largest first, checked against each other."""
    names = [match for match in map(re.compile(r"data([1-9]\d*)x\1").fullmatch, file) if match]
    resolutions = sorted((int(match[1]) for match in names), reverse=True)
    if not resolutions:
        raise FormatError(f"{path}: no data sets named data<r>x<r>: not a pyramid of images")
    expected = [r for r in level_resolutions(resolutions[0]) if complete or r >= resolutions[-1]]
    if resolutions != expected:
        raise FormatError(f"{path}: levels {resolutions}, expected {expected}")
    shapes: dict[int, tuple[int, ...]] = {}
    for r in resolutions:
        dataset = file[level_name(r)]
        if dataset.dtype != np.uint8 or dataset.ndim != 4:
            raise FormatError(
                f"{path}: {level_name(r)} is {dataset.shape} {dataset.dtype}, expected [N, C, {r}, {r}] uint8"
            )
        images_and_channels = shapes[resolutions[0]][:2] if shapes else dataset.shape[:2]
        if dataset.shape != (*images_and_channels, r, r):
            raise FormatError(
                f"{path}: {level_name(r)} has shape {dataset.shape}, expected {(*images_and_channels, r, r)}"
            )
        shapes[r] = dataset.shape
    return shapes
