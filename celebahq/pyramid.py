"""The interchange format: an HDF5 file with the images at every resolution.

Data sets `data{r}x{r}` for r = resolution, resolution / 2, ... 1 hold uint8 `[N, C, r, r]`, all of them the
same images; `labels` holds float32 `[N, L]`, `meta/NAME` one fact per image, and the root attribute
`provenance` the origin as JSON. Files of the original's layout (levels only, labels beside the file as
`NAME-labels.npy`) are read as well.
"""

import json
import os
import re
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import h5py
import numpy as np

from celebahq.chunks import ChunkTable, StoredLevel, filter_numbers
from celebahq.codecs import DEFAULT_CODEC, codec_name, compress, dataset_options, import_plugins
from celebahq.errors import FormatError, ToolError
from celebahq.files import atomic_path, refuse_existing

FORMAT_NAME = "celebahq-pyramid"
FORMAT_VERSION = 1

SINGLE_IMAGE_RESOLUTION = 32
"""Chunks hold one image from this resolution up, and 4096 / r^2 images below."""

COLUMN_CHUNK_BYTES = 16384
MAX_PROVENANCE_BYTES = 60_000
PARALLEL_BYTES = 1 << 18
"""Smaller reads are not worth a second thread."""
MAX_THREADS = 8

_LEVEL_NAME = re.compile(r"data(\d+)x\1")


def mip_levels(images: np.ndarray) -> list[np.ndarray]:
    """Box-filtered copies of square images at every power of two down to 1x1.

    Each level is the 2x2 mean of the float32 level above *before* rounding; only the results are rounded
    (half to even).

    Args:
        images: `[N, C, r, r]` uint8, r a power of two.

    Returns:
        `[N, C, r, r]`, `[N, C, r/2, r/2]`, ... `[N, C, 1, 1]`, uint8; the first is `images` itself.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images: expected [N, C, r, r] uint8, got {images.shape} {images.dtype}")
    resolutions = level_resolutions(images.shape[2])
    levels = [images, *(np.empty((*images.shape[:2], r, r), np.uint8) for r in resolutions[1:])]
    for n, c in np.ndindex(*images.shape[:2]):
        plane = images[n, c].astype(np.float32)
        for r, level in zip(resolutions[1:], levels[1:], strict=True):
            # For a factor of exactly two, INTER_AREA is the 2x2 mean.
            plane = cv2.resize(plane, (r, r), interpolation=cv2.INTER_AREA)
            level[n, c] = np.clip(np.rint(plane), 0, 255)
    return levels


def level_resolutions(resolution: int) -> list[int]:
    """All resolutions of a pyramid, largest first.

    Raises:
        ValueError: Not a power of two.
    """
    if resolution < 1 or resolution & (resolution - 1):
        raise ValueError(f"resolution: expected a power of two, got {resolution}")
    return [1 << i for i in range(resolution.bit_length() - 1, -1, -1)]


def images_per_chunk(resolution: int) -> int:
    """How many images share a chunk at one level."""
    return 1 if resolution >= SINGLE_IMAGE_RESOLUTION else 4096 // resolution**2


def encode_image(image: np.ndarray, codec: str = DEFAULT_CODEC) -> list[bytes]:
    """Turn one image into what `PyramidWriter.append_encoded` stores; the costly part, for workers.

    Args:
        image: `[C, r, r]` uint8, r a power of two.
        codec: One of `celebahq.codecs.CODECS`.

    Returns:
        Per level, largest first: the compressed HDF5 chunk from 32 px up, the raw pixels below.
    """
    levels = mip_levels(image[None])
    return [
        compress(level, codec) if level.shape[2] >= SINGLE_IMAGE_RESOLUTION else level.tobytes()
        for level in levels
    ]


class PyramidWriter:
    """Writes a pyramid file that appears under its name only when complete and verified.

    Equal images, labels, facts and provenance give equal bytes, however they were divided into calls.
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
            codec: One of `celebahq.codecs.CODECS`; stock h5py reads gzip, none and lzf.
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
        self.path, self.codec = Path(path), codec
        self.provenance: Mapping[str, Any] = provenance or {}
        refuse_existing(self.path, overwrite=overwrite)

        self._count = 0
        self._columns: dict[str, _ColumnWriter] | None = None
        with ExitStack() as stack:
            self._partial = stack.enter_context(atomic_path(self.path))
            # The earliest file format has no timestamps, and every HDF5 release reads it.
            self._file = h5py.File(self._partial, "w", libver=("earliest", "v110"))
            self._levels = [_LevelWriter(self._file, r, channels, codec, options) for r in resolutions]
            self._rename = stack.pop_all()

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
        expected = (len(images), self._levels[0].channels, *(self._levels[0].resolution,) * 2)
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
        with self._rename:
            self._finish()

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
        self._rename.__exit__(kind, value, trace)

    def _finish(self) -> None:
        if not self._count:
            self._file.close()
            raise ToolError(f"{self.path}: not written, as there are no images to put in it")
        provenance = json.dumps(self.provenance, sort_keys=True, ensure_ascii=False)
        if len(provenance.encode()) > MAX_PROVENANCE_BYTES:
            raise ValueError(f"provenance: more than {MAX_PROVENANCE_BYTES:,} bytes of JSON")
        for part in (*self._levels, *(self._columns or {}).values()):
            part.finish()
        self._file.attrs["format"] = FORMAT_NAME
        self._file.attrs["format_version"] = FORMAT_VERSION
        self._file.attrs["provenance"] = provenance
        self._file.close()

        damaged = damaged_levels(self._partial)
        if damaged:
            raise FormatError(f"{self.path}: not written, as {', '.join(damaged)} cannot be read back")


class _LevelWriter:
    """Appends images to one level; below 32 px it collects them into chunks."""

    def __init__(
        self, file: h5py.File, resolution: int, channels: int, codec: str, options: Mapping[str, Any]
    ) -> None:
        self.resolution, self.channels = resolution, channels
        self._codec = codec
        self._chunk_shape = (images_per_chunk(resolution), channels, resolution, resolution)
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
            self._store(blob, 1)
            return
        self._pending += blob
        if len(self._pending) == np.prod(self._chunk_shape):
            self._store_pending()

    def finish(self) -> None:
        if self._pending:
            self._store_pending()
        self._dataset.attrs["crc32"] = np.uint32(self._checksum)

    def _store_pending(self) -> None:
        image_bytes = int(np.prod(self._chunk_shape[1:]))
        chunk = np.zeros(self._chunk_shape, np.uint8)
        chunk.reshape(-1)[: len(self._pending)] = self._pending
        self._store(compress(chunk, self._codec), len(self._pending) // image_bytes)
        self._pending.clear()

    def _store(self, blob: bytes, images: int) -> None:
        raw = len(blob) == np.prod(self._chunk_shape)
        start = self._count
        self._count += images
        self._dataset.resize(self._count, axis=0)
        self._dataset.id.write_direct_chunk((start, 0, 0, 0), blob, int(raw and self._codec != "none"))
        self._checksum = zlib.crc32(blob, self._checksum)


class _ColumnWriter:
    """Appends one value per image to `labels` or `meta/NAME`, a chunk at a time."""

    def __init__(self, file: h5py.File, name: str, value: Any) -> None:
        if isinstance(value, str):
            self._shape: tuple[int, ...] = ()
            self._dtype, row_bytes = h5py.string_dtype(), 16
        else:
            value = np.asarray(value)
            self._shape, self._dtype, row_bytes = value.shape, value.dtype, max(value.nbytes, 1)
        self._rows_per_chunk = max(1, min(1024, COLUMN_CHUNK_BYTES // row_bytes))
        self._dataset = file.create_dataset(
            name,
            shape=(0, *self._shape),
            maxshape=(None, *self._shape),
            chunks=(self._rows_per_chunk, *(max(1, size) for size in self._shape)),
            dtype=self._dtype,
            compression=None if isinstance(value, str) else "gzip",
        )
        self._pending: list[Any] = []

    def append(self, value: Any) -> None:
        if np.shape(value) != self._shape:
            raise ValueError(f"{self._dataset.name}: shape {np.shape(value)}, but earlier {self._shape}")
        self._pending.append(value)
        if len(self._pending) == self._rows_per_chunk:
            self.finish()

    def finish(self) -> None:
        start = len(self._dataset)
        self._dataset.resize(start + len(self._pending), axis=0)
        self._dataset[start:] = np.array(self._pending, dtype=self._dtype)
        self._pending.clear()


class PyramidReader:
    """Random access to the images of a pyramid file, from any number of threads and processes.

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
        beside = self.path.with_name(f"{self.path.stem}-labels.npy")
        if self._has_labels:
            source = f"{self.path}: labels"
            with open_hdf5(self.path) as file:
                labels = file["labels"][:]
        elif self.format_version is None and beside.is_file():
            source = str(beside)
            try:
                labels = np.load(beside, allow_pickle=False)
            except (ValueError, EOFError) as err:
                raise FormatError(f"{beside}: not a NumPy array of numbers ({err})") from err
        else:
            return None
        if labels.ndim != 2 or len(labels) != len(self) or labels.dtype.kind not in "biuf":
            raise FormatError(
                f"{source}: {labels.shape} {labels.dtype}, expected {len(self):,} rows of numbers, one per image"
            )
        return np.asarray(labels, np.float32)

    def meta(self, name: str) -> np.ndarray:
        """One fact for every image: `[N, ...]`, strings as objects.

        Raises:
            KeyError: The file has no such fact; `meta_names` lists them.
        """
        if name not in self.meta_names:
            raise KeyError(f"{self.path}: no meta/{name}; there are: {', '.join(self.meta_names) or 'none'}")
        with open_hdf5(self.path) as file:
            dataset = file["meta"][name]
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
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"{self.path}: {len(self):,} images, asked for {indices.min()}..{indices.max()}")
        process = self._this_process()
        out = np.empty((len(indices), self.channels, resolution, resolution), np.uint8)
        if not len(indices):
            return out
        level = self._locate(process, resolution)
        if level is None:
            process.read_by_hdf5(level_name(resolution), indices, out)
            return out

        groups = level.plan(indices)

        def read_groups(first: int, step: int) -> None:
            for positions in groups[first::step]:
                level.read(process.descriptor, indices, positions, out)

        threads = min(self.threads, len(groups)) if out.nbytes >= PARALLEL_BYTES else 1
        if threads == 1:
            read_groups(0, 1)
        else:
            jobs = [process.pool(self.threads).submit(read_groups, i, threads) for i in range(threads)]
            for job in jobs:
                job.result()
        return out

    def close(self) -> None:
        """Close the file; the next `read` opens it again."""
        self._process = _ProcessState(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _this_process(self) -> "_ProcessState":
        if self._process.pid != os.getpid():
            self._process = _ProcessState(self.path)
        return self._process

    def _locate(self, process: "_ProcessState", resolution: int) -> StoredLevel | None:
        with process.lock:
            if resolution not in self._stored:
                name = level_name(resolution)
                with open_hdf5(self.path) as file:
                    self._stored[resolution] = StoredLevel.locate(file[name], f"{self.path}: {name}")
        return self._stored[resolution]


class _ProcessState:
    """What must not be shared with a forked process: the open file, the threads and their lock."""

    def __init__(self, path: Path) -> None:
        self.pid = os.getpid()
        self.lock = threading.RLock()
        self._path = path
        self._file: Any = None
        self._hdf5: h5py.File | None = None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def descriptor(self) -> int:
        with self.lock:
            if self._file is None:
                self._file = self._path.open("rb", buffering=0)
            return int(self._file.fileno())

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
            for position, index in enumerate(indices):
                out[position] = dataset[index]


def level_name(resolution: int) -> str:
    """Name of a level's data set."""
    return f"data{resolution}x{resolution}"


def damaged_levels(path: Path) -> list[str]:
    """Names of the levels whose stored chunks no longer have the checksum written with them.

    Raises:
        FormatError: The file's structure is damaged.
    """
    reader = PyramidReader(path)
    damaged = []
    with open_hdf5(path) as file, path.open("rb", buffering=0) as raw:
        for name in map(level_name, reader.levels):
            if "crc32" in file[name].attrs:
                checksum = ChunkTable.of(file[name], f"{path}: {name}").crc32(raw.fileno())
                if checksum != file[name].attrs["crc32"]:
                    damaged.append(name)
    return damaged


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
        reason = re.sub(r"^.*\((.*)\)$", r"\1", str(err).replace("\n", " "))
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
            f"{path}: format version {version}, this tool reads up to {FORMAT_VERSION}: update it"
        )
    return version


def _read_level_shapes(path: Path, file: h5py.File, *, complete: bool) -> dict[int, tuple[int, ...]]:
    """Shape of each level, largest first, checked against each other."""
    names = [match for match in map(_LEVEL_NAME.fullmatch, file) if match]
    resolutions = sorted((int(match[1]) for match in names), reverse=True)
    if not resolutions:
        raise FormatError(f"{path}: no data sets named data<r>x<r>: not a pyramid of images")
    top = resolutions[0]
    expected = [r for r in level_resolutions(top) if complete or r >= resolutions[-1]]
    if resolutions != expected:
        raise FormatError(f"{path}: levels {resolutions}, expected {expected}")
    shapes = {}
    for r in resolutions:
        dataset = file[level_name(r)]
        if dataset.dtype != np.uint8:
            raise FormatError(f"{path}: {level_name(r)} is {dataset.dtype}, expected uint8")
        shape = dataset.shape
        wanted = shapes[top][:2] if shapes else shape[:2]
        if len(shape) != 4 or shape != (*wanted, r, r):
            raise FormatError(f"{path}: {level_name(r)} has shape {shape}, expected {(*wanted, r, r)}")
        shapes[r] = shape
    return shapes
