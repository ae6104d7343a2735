"""Which files a folder holds, and what tells one listing from another."""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from celebahq.errors import ToolError
from celebahq.pictures.decoding import SUFFIXES

log = logging.getLogger(__name__)


def find_photos(folder: Path) -> list[str]:
    """Paths below `folder` of all files named like photos, in sub-folders too, ordered as bytes.

    Raises:
        ToolError: There are none, a name is not text, or a folder cannot be read.
    """
    files = [path.relative_to(folder).as_posix() for path in walk(folder)]
    names = [name for name in files if name.lower().endswith(SUFFIXES)]
    for name in names:
        if not name.isprintable():
            raise ToolError(folder, f"rename {name!r}; names must be printable text, for the file lists them")
    if not names:
        raise ToolError(folder, f"no photos in it; looked for {', '.join(SUFFIXES)}")
    if len(files) > len(names):
        log.info(
            "%s: %s files that are not named like photos are left out", folder, f"{len(files) - len(names):,}"
        )
    return sorted(names, key=os.fsencode)


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, also where links to folders lead; nothing is passed over in silence.

    Raises:
        ToolError: A folder below cannot be read, or a link leads back to a folder above it.
    """
    yield from _walk(folder, ())


def _walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    try:
        found = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as err:
        raise ToolError(
            folder, f"cannot be read ({err.strerror}); make it readable, or move it away"
        ) from err
    identity = found.st_dev, found.st_ino
    if identity in above:
        raise ToolError(folder, "a link to a folder above it; remove it")
    for entry in entries:
        if entry.is_dir():
            yield from _walk(folder / entry.name, (*above, identity))
        else:
            yield folder / entry.name


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
