"""Random access to the images of one HDF5 data set, outside HDF5's global lock.

The place of every chunk is taken from HDF5 once; after that, images are read with `os.pread` and inflated
by any thread.
"""

import os
from array import array
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, TypedDict

import h5py
import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError
from celebahq.formats.codecs import GZIP_FILTER, inflate


@dataclass(frozen=True)
class StoredLevel:
    """A data set `[N, C, H, W]` of uint8 that can be read without HDF5."""

    name: str
    """`FILE: DATASET`, for messages."""
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    """Of the whole data set where it is not cut into chunks."""
    compressed: bool
    """Chunks went through the gzip filter, except those that have the raw length."""
    offsets: NDArray[np.int64]
    """int64, position in the file of each chunk, in the order of the chunk grid (last axis fastest)."""
    sizes: NDArray[np.int64]
    """int64, stored bytes of each chunk."""

    @property
    def single_images(self) -> bool:
        """Each image can be read by itself, out of the middle of its chunk."""
        return not self.compressed and self.chunk_shape[1:] == self.shape[1:]

    def plan(self, indices: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Group positions in `indices` so that no chunk is read by two groups.

        Args:
            indices: `[n]` image numbers in any order, repeats allowed.
        """
        images_per_group = 1 if self.single_images else self.chunk_shape[0]
        order = np.argsort(indices, kind="stable")
        boundaries = np.flatnonzero(np.diff(indices[order] // images_per_group)) + 1
        return np.split(order, boundaries)

    def read(
        self,
        descriptor: int,
        indices: NDArray[np.int64],
        positions: NDArray[np.int64],
        out: NDArray[np.uint8],
    ) -> None:
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

    def _read_raw(self, descriptor: int, number: int, image: int, out: NDArray[np.uint8]) -> None:
        offset = int(self.offsets[number]) + image * out.nbytes
        if os.preadv(descriptor, [out.reshape(-1).data], offset) != out.nbytes:
            raise FormatError(self.name, f"chunk {number} lies beyond the end of the file: it is truncated")

    def _read_chunk(self, descriptor: int, number: int) -> NDArray[np.uint8]:
        size, raw_size = int(self.sizes[number]), prod(self.chunk_shape)
        blob = os.pread(descriptor, size, int(self.offsets[number]))
        try:
            raw = inflate(blob, raw_size) if self.compressed and size != raw_size else blob
            return np.frombuffer(raw, np.uint8).reshape(self.chunk_shape)
        except ValueError as err:
            raise FormatError(self.name, f"chunk {number}: {err}; the file is damaged") from err


def filter_numbers(dataset: h5py.Dataset) -> list[int]:
    """HDF5's numbers of the filters that a data set's chunks go through."""
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]


class ChunkTable(TypedDict):
    """Where the chunks of a data set lie, in the order of the chunk grid (last axis fastest)."""

    offsets: NDArray[np.int64]
    """int64, position in the file of each."""
    sizes: NDArray[np.int64]
    """int64, stored bytes of each."""
    plain: bool
    """They can be read without HDF5: raw, or through the gzip filter, in a file that begins at its start."""


def chunk_table(dataset: h5py.Dataset, name: str) -> ChunkTable:
    """Ask HDF5 where the chunks are.

    Raises:
        FormatError: Chunks were never written.
    """
    filters = filter_numbers(dataset)
    plain = not dataset.file.userblock_size and filters in ([], [GZIP_FILTER])
    layout = dataset.id.get_create_plist().get_layout()
    if layout == h5py.h5d.CHUNKED:
        offsets, sizes, raw = _chunks(dataset, name)
        # Other writers may keep a compressed chunk of just the raw length: leave those to HDF5.
        plain &= not filters or np.array_equal(raw, sizes == prod(dataset.chunks))
        return ChunkTable(offsets=offsets, sizes=sizes, plain=plain)
    if layout == h5py.h5d.CONTIGUOUS and not dataset.external:
        offset = dataset.id.get_offset()
        if offset is None:
            raise FormatError(name, "its images were never written")
        return ChunkTable(offsets=np.array([offset]), sizes=np.array([dataset.nbytes]), plain=plain)
    nowhere = np.zeros(0, np.int64)
    return ChunkTable(offsets=nowhere, sizes=nowhere, plain=False)


def _chunks(dataset: h5py.Dataset, name: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Offset, size and whether the filters were skipped, of each chunk in the order of the grid."""
    grid = [-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    strides = [prod(grid[axis + 1 :]) for axis in range(len(grid))]
    records = array("q")

    def take(chunk: h5py.h5d.StoreInfo) -> None:
        try:
            starts = zip(chunk.chunk_offset, dataset_chunks, strides, strict=True)
            place = sum(start // size * stride for start, size, stride in starts)
            records.extend((place, chunk.byte_offset, chunk.size, chunk.filter_mask))
        except MemoryError as err:  # HDF5 would end the walk, and say nothing
            failures.append(err)

    dataset_chunks = dataset.chunks  # each look at the property asks HDF5
    failures: list[MemoryError] = []
    dataset.id.chunk_iter(take)
    if failures:
        raise failures[0]
    table = np.frombuffer(records, np.int64).reshape(-1, 4)
    table = table[np.argsort(table[:, 0])]
    if len(table) != prod(grid) or not np.array_equal(table[:, 0], np.arange(len(table))):
        raise FormatError(name, f"{len(table):,} of {prod(grid):,} chunks were written: it is incomplete")
    return table[:, 1].copy(), table[:, 2].copy(), table[:, 3] != 0
