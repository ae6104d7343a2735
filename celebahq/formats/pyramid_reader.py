"""Reading a data set: minibatches at random, from any number of threads and processes."""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from celebahq.formats.class_labels import Labels, joined
from celebahq.formats.map_style import MapStyle, PyramidLevel
from celebahq.formats.parts import Parts
from celebahq.formats.pyramid_file import Identity, Piece, PyramidFile, changed

MAX_THREADS = 8
PARALLEL_BYTES = 1 << 18
"""Smaller reads are not worth a second thread."""


class PyramidReader(MapStyle):
    """Random access to the images of a data set, `reader[i]` at full resolution.

    The data set is one pyramid file, or several with a manifest. The reader may be pickled, and used after a
    fork. It reads the files that it opened: when others take their names, it goes on with the old ones, and
    when a file itself is changed, that is an error.
    """

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        """Check the structure.

        Args:
            path: A pyramid file, or one of the original's layout; or a manifest, or the folder it is in.
            threads: To inflate with in each process; the machine's processors, at most 8, unless told.

        Raises:
            ToolError: There is no such file.
            FormatError: It is not a pyramid, is damaged, or comes from a later version of this tool.
        """
        self.path = Path(path)
        self.threads = threads or min(MAX_THREADS, os.cpu_count() or 1)
        self.files = Parts(self.path)
        """The files, opened when they are first asked for."""
        first = self.files[0]
        self.format_version = first.format_version
        """None for a file of the original's layout."""
        self.levels = first.levels
        """Resolutions, largest first."""
        self.resolution = self.levels[0]
        self.channels = first.channels
        self.meta_names = first.meta_names
        self.provenance: dict[str, Any] = self.files.provenance
        self._process = _ProcessState()

    def __len__(self) -> int:
        return int(self.files.starts[-1])

    def at(self, resolution: int) -> PyramidLevel:
        """The same images at another resolution of the file, as a data set.

        Raises:
            ValueError: The file has no such level.
        """
        return PyramidLevel(self, resolution)

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_again, (self.path, self.threads, self.files.identity)

    @cached_property
    def labels(self) -> Labels | None:
        """`[N, L]` float32, from the file or from `NAME-labels.npy` beside it; None without labels.

        Those of many classes are held as class numbers: `labels[i]`, `labels[rows]` and `labels[:, class]`
        are arrays, and `np.asarray(labels)` is all of them.

        Raises:
            FormatError: They do not fit the images, or are damaged.
        """
        if len(self.files) == 1:
            return self.files[0].labels
        labels = [rows for file in self.files if (rows := file.labels) is not None]
        return joined(labels) if labels else None  # all have them, or none has

    @property
    def label_names(self) -> list[str]:
        """What the columns of the labels are called; empty where the provenance does not say it."""
        names = self.provenance.get("label_names")
        columns = 0 if self.labels is None else self.labels.shape[1]
        if not isinstance(names, list) or len(names) != columns:
            return []
        return names if all(isinstance(name, str) for name in names) else []

    def meta(self, name: str) -> np.ndarray:
        """One fact for every image: `[N, ...]`, strings as objects.

        Raises:
            KeyError: The file has no such fact; `meta_names` lists them.
            FormatError: It is damaged.
        """
        if name not in self.meta_names:
            raise KeyError(f"{self.path}: no meta/{name}; there are: {', '.join(self.meta_names) or 'none'}")
        columns = [file.column(f"meta/{name}") for file in self.files]
        return columns[0] if len(columns) == 1 else np.concatenate(columns)

    def read(self, indices: Sequence[int] | np.ndarray, resolution: int | None = None) -> np.ndarray:
        """Images of one level.

        Args:
            indices: `[n]` in any order, repeats allowed, 0 <= index < len.
            resolution: The level, the largest unless told.

        Returns:
            `[n, C, r, r]` uint8.

        Raises:
            IndexError: An index out of range.
            FormatError: A file is damaged, or was changed since it was opened.
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
        with self._this_process().lock:
            pieces = list(self._pieces(resolution, indices, out))
        self._run(pieces, out.nbytes)
        return out

    def place(self, index: int) -> tuple[PyramidFile, int]:
        """The file that an image is in, and its number there."""
        number = int(np.searchsorted(self.files.starts, index, "right")) - 1
        return self.files[number], index - int(self.files.starts[number])

    def close(self) -> None:
        """Close the files; the next `read` opens them again."""
        self.files.close()
        self._process.close()
        self._process = _ProcessState()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pieces(self, resolution: int, indices: np.ndarray, out: np.ndarray) -> Iterator[Piece]:
        starts = self.files.starts
        if len(starts) == 2:
            yield from self.files[0].pieces(resolution, indices, np.arange(len(indices)), out)
            return
        numbers = np.searchsorted(starts, indices, "right") - 1
        for number in np.unique(numbers).tolist():
            positions = np.flatnonzero(numbers == number)
            yield from self.files[number].pieces(resolution, indices - starts[number], positions, out)

    def _run(self, pieces: list[Piece], total_bytes: int) -> None:
        def run_some(first: int, step: int) -> None:
            for piece in pieces[first::step]:
                piece()

        threads = min(self.threads, len(pieces)) if total_bytes >= PARALLEL_BYTES else 1
        if threads == 1:
            run_some(0, 1)
            return
        pool = self._this_process().pool(self.threads)
        jobs = [pool.submit(run_some, i, threads) for i in range(threads)]
        for job in jobs:
            job.result()

    def _this_process(self) -> "_ProcessState":
        if self._process.pid != os.getpid():
            self._process = _ProcessState()
        return self._process


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


def _open_again(path: Path, threads: int, identity: Identity) -> PyramidReader:
    """What another process makes of a pickled reader."""
    reader = PyramidReader(path, threads=threads)
    if reader.files.identity != identity:
        raise changed(path)
    return reader
