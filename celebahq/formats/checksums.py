"""CRC-32 of a pyramid file's columns and of its structure; docs/format.md says over which bytes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import deflate
import numpy as np

if TYPE_CHECKING:
    from celebahq.formats.hdf5_file import FileFacts


def column_crc32(values: Any, checksum: int = 0) -> int:
    """Checksum of some values of a column, continuing that of the values before.

    Args:
        values: Array of numbers, or strings.
        checksum: Of what came before.
    """
    if isinstance(values, np.ndarray):
        data = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    else:
        data = b"".join(value.encode("utf-8", "surrogatepass") + b"\0" for value in values)
    return int(deflate.crc32(data, checksum))


def structure_crc32(facts: "FileFacts") -> int:
    """Checksum of everything but values: format, provenance, and each data set's shape, type and checksum."""
    lines = [f"{facts['format']} {facts['format_version']}", facts["provenance"]]
    datasets: Mapping[str, Any] = {**facts["levels"], **facts["columns"]}
    for name in sorted(datasets):
        dataset = datasets[name]
        shape = "x".join(map(str, dataset["shape"]))
        lines.append(f"{name} {shape} {dataset['dtype']} {dataset['crc32']}")
    return int(deflate.crc32("\n".join(lines).encode("utf-8", "surrogatepass")))
