"""Shards in Mosaic's MDS format, as its StreamingDataset reads them from object storage.

A shard holds the number of its samples, where each begins and the last one ends (uint32, from the file's
first byte), a description of the columns as JSON, and the samples: the lengths of the columns of no fixed
size (uint32), then the columns in the order of their names. `index.json` describes all shards.

Source: the format's description and its reader in mosaicml-streaming 0.13.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SHARD_BYTES = 1 << 26
"""The library's own limit."""
FIXED_SIZES = {"int": 8}
"""Bytes of a column, where all have as many."""

Sample = Mapping[str, bytes]


def write_shards(folder: Path, encodings: Mapping[str, str], samples: Iterable[Sample]) -> None:
    """Write `shard.00000.mds`, ... and `index.json` into a folder.

    Args:
        folder: An empty folder.
        encodings: Of each column, how it is encoded: `png`, `json` (UTF-8), `int` (int64), ...
        samples: Each column's bytes.
    """
    names = sorted(encodings)
    facts: dict[str, Any] = {
        "column_encodings": [encodings[name] for name in names],
        "column_names": names,
        "column_sizes": [FIXED_SIZES.get(encodings[name]) for name in names],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": SHARD_BYTES,
        "version": 2,
    }
    header = json.dumps(facts, sort_keys=True).encode()
    shards = []
    for number, rows in enumerate(_grouped(_rows(encodings, samples), SHARD_BYTES - len(header))):
        path = folder / f"shard.{number:05d}.mds"
        ends = np.cumsum([4 * (len(rows) + 2) + len(header), *map(len, rows)], dtype=np.uint32)
        with path.open("wb") as file:
            for part in (np.uint32(len(rows)).tobytes(), ends.tobytes(), header, *rows):
                file.write(part)
        raw = {"basename": path.name, "bytes": int(ends[-1]), "hashes": {}}
        shards.append({**facts, "raw_data": raw, "samples": len(rows), "zip_data": None})
    (folder / "index.json").write_text(json.dumps({"shards": shards, "version": 2}, sort_keys=True))


def _rows(encodings: Mapping[str, str], samples: Iterable[Sample]) -> Iterator[bytes]:
    """Samples as a shard holds them."""
    names = sorted(encodings)
    open_ended = [name for name in names if encodings[name] not in FIXED_SIZES]
    for sample in samples:
        sizes = np.array([len(sample[name]) for name in open_ended], np.uint32)
        yield sizes.tobytes() + b"".join(sample[name] for name in names)


def _grouped(rows: Iterable[bytes], limit: int) -> Iterator[list[bytes]]:
    """As many rows in a row as have no more bytes than the limit, each with its place; at least one."""
    group: list[bytes] = []
    size = 0
    for row in rows:
        if group and size + 4 + len(row) > limit:
            yield group
            group, size = [], 0
        group.append(row)
        size += 4 + len(row)
    if group:
        yield group
