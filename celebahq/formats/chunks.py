"""Random access to the images of one HDF5 data set, outside HDF5's global lock.

The place of every chunk is taken from HDF5 once; after that, images are read with `os.pread` and inflated
by any thread.
"""

import os
from array import array
from dataclasses import dataclass
from itertools import product
from math import prod

import deflate
import h5py
import numpy as np

from celebahq.errors import FormatError
from celebahq.formats.codecs import GZIP_FILTER, inflate


@dataclass(frozen=True)
class StoredLevel:
    """A data set `[N, C, H, W]` of uint8 that can be read without HDF5."""

    name: str
    """`FILE: DATASET`, for messages."""
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    compressed: bool
    """Chunks went through the gzip filter, except those that have the raw length."""
    offsets: np.ndarray
    """int64, position in the file of each chunk, in the order of the chunk grid (last axis fastest)."""
    sizes: np.ndarray
    """int64, stored bytes of each chunk."""

    @classmethod
    def locate(cls, dataset: h5py.Dataset, name: str) -> "StoredLevel | None":
        """Take the chunk index of a data set; None for storage that only HDF5 itself can read.

        Raises:
            FormatError: Images are missing or lie beyond the end of the file.
        """
        filters = filter_numbers(dataset)
        layout = dataset.id.get_create_plist().get_layout()
        if dataset.file.userblock_size or filters not in ([], [GZIP_FILTER]):
            return None
        if layout == h5py.h5d.CHUNKED:
            offsets, sizes, raw = _chunk_table(dataset, name)
            # Other writers may keep a compressed chunk of just the raw length: leave those to HDF5.
            if filters and not np.array_equal(raw, sizes == prod(dataset.chunks)):
                return None
            level = cls(name, dataset.shape, dataset.chunks, bool(filters), offsets, sizes)
        elif layout == h5py.h5d.CONTIGUOUS and not dataset.external:
            offset = dataset.id.get_offset()
            if offset is None:
                raise FormatError(f"{name}: its images were never written")
            level = cls(
                name, dataset.shape, dataset.shape, False, np.array([offset]), np.array([dataset.nbytes])
            )
        else:
            return None
        if (level.offsets + level.sizes).max(initial=0) > os.path.getsize(dataset.file.filename):
            raise FormatError(f"{name}: images lie beyond the end of the file: it is truncated")
        return level

    @property
    def single_images(self) -> bool:
        """Each image can be read by itself, out of the middle of its chunk."""
        return not self.compressed and self.chunk_shape[1:] == self.shape[1:]

    def plan(self, indices: np.ndarray) -> list[np.ndarray]:
        """Group positions in `indices` so that no chunk is read by two groups.

        Args:
            indices: `[n]` image numbers in any order, repeats allowed.
        """
        images_per_group = 1 if self.single_images else self.chunk_shape[0]
        order = np.argsort(indices, kind="stable")
        boundaries = np.flatnonzero(np.diff(indices[order] // images_per_group)) + 1
        return np.split(order, boundaries)

    def read(self, descriptor: int, indices: np.ndarray, positions: np.ndarray, out: np.ndarray) -> None:
        """Read one group of `plan` into `out[positions]`.

        Args:
            descriptor: Of the open file.
            indices: `[n]` image numbers.
            positions: Where in `indices`, and in `out`.
            out: `[n, C, H, W]` uint8.

        Raises:
            FormatError: A chunk is damaged.
        """
        images_per_chunk = self.chunk_shape[0]
        row = int(indices[positions[0]]) // images_per_chunk
        if self.single_images:
            self._read_raw(descriptor, row, int(indices[positions[0]]) % images_per_chunk, out[positions[0]])
            for position in positions[1:]:
                out[position] = out[positions[0]]
            return
        starts = [range(0, n, step) for n, step in zip(self.shape[1:], self.chunk_shape[1:], strict=True)]
        first = row * prod(len(axis) for axis in starts)
        for number, (c, y, x) in enumerate(product(*starts), start=first):
            chunk = self._read_chunk(descriptor, number)
            _, depth, height, width = self.chunk_shape
            for position in positions:
                # The last chunk along an axis may reach beyond the image.
                part = out[position, c : c + depth, y : y + height, x : x + width]
                image = chunk[int(indices[position]) % images_per_chunk]
                part[...] = image[: part.shape[0], : part.shape[1], : part.shape[2]]

    def _read_raw(self, descriptor: int, number: int, image: int, out: np.ndarray) -> None:
        offset = int(self.offsets[number]) + image * out.nbytes
        if os.preadv(descriptor, [out.reshape(-1).data], offset) != out.nbytes:
            raise FormatError(f"{self.name}: chunk {number} lies beyond the end of the file: it is truncated")

    def _read_chunk(self, descriptor: int, number: int) -> np.ndarray:
        size, raw_size = int(self.sizes[number]), prod(self.chunk_shape)
        blob = os.pread(descriptor, size, int(self.offsets[number]))
        try:
            raw = inflate(blob, raw_size) if self.compressed and size != raw_size else blob
            return np.frombuffer(raw, np.uint8).reshape(self.chunk_shape)
        except ValueError as err:
            raise FormatError(f"{self.name}: chunk {number}: {err}; the file is damaged") from err


def filter_numbers(dataset: h5py.Dataset) -> list[int]:
    """HDF5's numbers of the filters that a data set's chunks go through."""
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]


def stored_crc32(dataset: h5py.Dataset, descriptor: int) -> int:
    """CRC-32 of a chunked data set's chunks as they are stored, one after the other.

    Args:
        dataset: Its chunks along the first axis.
        descriptor: Of the same file.
    """
    checksum = 0

    def take(chunk: h5py.h5d.StoreInfo) -> None:
        nonlocal checksum
        checksum = deflate.crc32(os.pread(descriptor, chunk.size, chunk.byte_offset), checksum)

    dataset.id.chunk_iter(take)
    return checksum


def _chunk_table(dataset: h5py.Dataset, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offset, size and whether the filters were skipped, of each chunk in the order of the grid."""
    grid = [-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    strides = [prod(grid[axis + 1 :]) for axis in range(len(grid))]
    records = array("q")

    def take(chunk: h5py.h5d.StoreInfo) -> None:
        starts = zip(chunk.chunk_offset, dataset_chunks, strides, strict=True)
        place = sum(start // size * stride for start, size, stride in starts)
        records.extend((place, chunk.byte_offset, chunk.size, chunk.filter_mask))

    dataset_chunks = dataset.chunks  # each look at the property asks HDF5
    dataset.id.chunk_iter(take)
    table = np.frombuffer(records, np.int64).reshape(-1, 4)
    table = table[np.argsort(table[:, 0])]
    if len(table) != prod(grid) or not np.array_equal(table[:, 0], np.arange(len(table))):
        raise FormatError(f"{name}: {len(table):,} of {prod(grid):,} chunks were written: it is incomplete")
    return table[:, 1].copy(), table[:, 2].copy(), table[:, 3] != 0
