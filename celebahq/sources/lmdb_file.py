"""What LMDB itself is asked for: keys and records of a database from outside.

`isolation.run_apart` calls these functions in the helper process, for LMDB maps the file into memory and
follows the page numbers in it without looking.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from celebahq.errors import FormatError, MissingExtraError

META = struct.Struct("<16x IIQQ" + "IHHQQQQQ" * 2 + "QQ")
"""A meta page: header, magic number, version, address, size of the map, two trees, last page, transaction."""
MAGIC = 0xBEEFC0DE
PAGE_SIZES = {1 << bits for bits in range(9, 17)}


def require_whole(path: Path) -> None:
    """Hold the number of pages that an LMDB file announces against its size, without opening it.

    Raises:
        FormatError: It is not an LMDB, or cut short.
    """
    with path.open("rb") as file:
        first = _meta(file.read(META.size))
        if first is None:
            raise FormatError(path, "not an LMDB, or damaged (no meta page)")
        page_size = first[4]  # the first tree is that of free pages, which keeps the page size in its padding
        file.seek(page_size)
        second = _meta(file.read(META.size)) or first
        size = os.fstat(file.fileno()).st_size
    last_page = max(first, second, key=lambda meta: meta[-1])[-2]
    if (last_page + 1) * page_size > size:
        raise FormatError(
            path, f"{size:,} bytes, and {(last_page + 1) * page_size:,} are announced: it is cut short"
        )


def list_keys(name: str, path: str) -> dict[str, Any]:
    """All keys in their order: their bytes one after the other, and where each ends.

    Raises:
        FormatError: LMDB cannot read it.
    """
    with _lmdb_errors(name), _open(path).begin() as transaction:
        # A damaged tree may lead in circles.
        keys = list(islice(transaction.cursor().iternext(values=False), transaction.stat()["entries"] + 1))
        if len(keys) != transaction.stat()["entries"]:
            raise FormatError(name, "damaged: it does not have the number of records that it announces")
        lengths = np.fromiter(map(len, keys), np.int64, len(keys))
        return {"keys": b"".join(keys), "ends": lengths.cumsum()}


def read_record(name: str, path: str, key: str) -> bytes | None:
    """The value of a key, which is given with a character for each byte; None without it.

    Raises:
        FormatError: LMDB cannot read it.
    """
    with _lmdb_errors(name), _open(path).begin() as transaction:
        value: bytes | None = transaction.get(key.encode("latin1"))
        return value


def require_lmdb() -> None:
    """Raise `MissingExtraError` where the package is not installed."""
    try:
        import lmdb  # noqa: F401
    except ImportError as err:
        raise MissingExtraError("lmdb", "lsun", "celebahq import lsun") from err


def _meta(page: bytes) -> tuple[int, ...] | None:
    if len(page) < META.size:
        return None
    meta = META.unpack(page)
    return meta if meta[0] == MAGIC and meta[4] in PAGE_SIZES else None


@lru_cache(maxsize=1)  # LMDB allows to open a folder only once in a process
def _open(path: str) -> Any:
    import lmdb

    return lmdb.open(path, readonly=True, lock=False, readahead=False)


@contextmanager
def _lmdb_errors(name: str) -> Iterator[None]:
    import lmdb

    try:
        yield
    except lmdb.Error as err:
        raise FormatError(name, f"not an LMDB, or damaged ({err})") from err
