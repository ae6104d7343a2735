"""Compression of single HDF5 chunks, done here so that it needs neither HDF5's lock nor an open file.

One rule holds for every codec: a chunk that compression would not make smaller is stored raw, with the
filter marked as skipped. A stored chunk is therefore raw exactly when it has the raw length.

Every codec but one gives the same bytes for the same pixels: the LZF library starts from whatever its table
held before, so that its output, though always right, varies in length by a few bytes.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import deflate
import h5py
import numpy as np
from numpy.typing import NDArray

from celebahq.errors import MissingExtraError

DEFAULT_CODEC = "gzip"
CODECS = ("gzip", "none", "lzf", "blosc2", "bitshuffle")

GZIP_LEVEL = 4
GZIP_FILTER = 1
MAX_DEFLATE_RATIO = 1032
"""Deflate makes data at most so many times smaller."""
_FILTER_NAMES = {GZIP_FILTER: "gzip", 32000: "lzf", 32026: "blosc2", 32008: "bitshuffle"}


def dataset_options(codec: str) -> Mapping[str, Any]:
    """Arguments of `h5py.create_dataset` that choose the codec.

    Raises:
        ValueError: No codec of that name.
        MissingExtraError: blosc2 and bitshuffle come with the extra `codecs`.
    """
    if codec == "none":
        return {}
    if codec == "gzip":
        return {"compression": "gzip", "compression_opts": GZIP_LEVEL}
    if codec == "lzf":
        return {"compression": "lzf"}
    if codec not in CODECS:
        raise ValueError(f"codec {codec!r}: expected one of {', '.join(CODECS)}")
    hdf5plugin = import_plugins(f"the codec {codec}")
    if codec == "blosc2":
        # Without the bit shuffle, zstd takes half as long again on photographs and gains nothing.
        return dict(hdf5plugin.Blosc2(cname="zstd", clevel=3, filters=hdf5plugin.Blosc2.BITSHUFFLE))
    return dict(hdf5plugin.Bitshuffle())


def import_plugins(purpose: str) -> Any:
    """Import hdf5plugin, which makes its filters known to h5py.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import hdf5plugin
    except ImportError as err:
        raise MissingExtraError("hdf5plugin", "codecs", purpose) from err
    return hdf5plugin


def import_missing_plugins(filters: list[int], name: str) -> None:
    """Make the filters of a file known to HDF5.

    Raises:
        MissingExtraError: They come with a package that is not installed.
    """
    for number in filters:
        if not h5py.h5z.filter_avail(number):
            import_plugins(f"{name}: reading {codec_name([number])}")


def codec_name(filters: list[int]) -> str:
    """The codec that a filter pipeline (HDF5 filter numbers) stands for, `filter-N` for others."""
    return "+".join(_FILTER_NAMES.get(number, f"filter-{number}") for number in filters) or "none"


def compress(chunk: NDArray[np.uint8], codec: str) -> bytes:
    """Compress one chunk (any shape, uint8) into what HDF5 stores for it."""
    if codec == "none":
        return chunk.tobytes()
    if codec == "gzip":
        blob = bytes(deflate.zlib_compress(chunk.tobytes(), GZIP_LEVEL))
    else:
        blob = _compress_by_hdf5(chunk, codec)
    return blob if len(blob) < chunk.nbytes else chunk.tobytes()


def decompress(blob: bytes, shape: tuple[int, ...], codec: str) -> NDArray[Any]:
    """Undo `compress`: one chunk of this shape, uint8.

    Raises:
        ValueError: The blob is damaged.
    """
    size = prod(shape)
    if len(blob) == size:  # kept as it is where a codec gains nothing
        return np.frombuffer(blob, np.uint8).reshape(shape)
    if codec == "gzip":
        return np.frombuffer(inflate(blob, size), np.uint8).reshape(shape)
    with h5py.File("chunk", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("chunk", shape, np.uint8, chunks=shape, **dataset_options(codec))
        dataset.id.write_direct_chunk((0,) * len(shape), blob)
        return np.asarray(dataset[:])


def inflate(blob: bytes, size: int) -> bytearray:
    """Undo the gzip filter.

    Raises:
        ValueError: The blob is damaged, or holds another number of bytes than `size`.
    """
    if size > MAX_DEFLATE_RATIO * len(blob):  # before so much memory is taken
        raise ValueError(f"{len(blob):,} bytes cannot hold {size:,}")
    try:
        raw: bytearray = deflate.zlib_decompress(blob, size)
    except deflate.DeflateError as err:
        raise ValueError("the compressed data are damaged") from err
    if len(raw) != size:
        raise ValueError(f"the compressed data hold {len(raw):,} bytes, not {size:,}")
    return raw


def _compress_by_hdf5(chunk: NDArray[np.uint8], codec: str) -> bytes:
    """Let HDF5's own filter compress the chunk, in a file that exists in memory only."""
    options = dataset_options(codec)
    with h5py.File("chunk", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("chunk", data=chunk, chunks=chunk.shape, **options)
        filter_mask, blob = dataset.id.read_direct_chunk((0,) * chunk.ndim)
        return chunk.tobytes() if filter_mask else bytes(blob)
