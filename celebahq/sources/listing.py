"""Which files a folder holds, and what tells one listing from another."""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from celebahq.errors import ToolError, one_line
from celebahq.pictures.files import FolderFiles

log = logging.getLogger(__name__)


def find_photos(folder: Path) -> list[str]:
    """Paths below `folder` of all files that may be photos; see `FolderFiles`.

    Raises:
        ToolError: There are none, or a folder cannot be read.
    """
    files = FolderFiles(folder)
    if files.remark:
        log.info(files.remark)
    return files.names


def read_list(path: Path) -> list[str]:
    """Names in a text file, one a line; `./a.jpg` is `a.jpg`.

    Raises:
        ToolError: It is not text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as err:
        raise ToolError(path, "not a text file of names") from err
    return [str(PurePosixPath(name)) for line in lines if (name := line.strip())]


def listed(name: str) -> str:
    """A name as reports and data sets can hold it: with escapes for what is not printable text."""
    return one_line(os.fsencode(name).decode("utf-8", "backslashreplace"))


def require_listable(name: str) -> None:
    """Refuse a file whose name nobody could find again in a list.

    Raises:
        ToolError: The name is not printable text.
    """
    if listed(name) != name:
        raise ToolError("its name is not printable text in UTF-8; rename it")


def listing_sha256(lines: Iterable[str]) -> str:
    """SHA-256 of a list of names."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def names_and_sizes_sha256(folder: Path, names: Iterable[str]) -> str:
    """SHA-256 of the names and sizes of files below `folder`."""
    return listing_sha256(f"{name} {_size(folder / name)}" for name in names)


def _size(path: Path) -> int | str:
    try:
        return path.stat().st_size
    except OSError:  # a link that leads nowhere, say: whoever reads it will give the reason
        return "unknown"


@contextmanager
def without_name(name: object) -> Iterator[None]:
    """Leave a file's name or path out of the message, where the reason is listed beside it."""
    try:
        yield
    except ToolError as err:
        raise ToolError(err.beside(name)) from err
