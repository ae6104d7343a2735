"""Which files a folder holds, and what tells one listing from another."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from celebahq.errors import ToolError
from celebahq.pictures.decoding import SUFFIXES


def find_photos(folder: Path) -> list[str]:
    """Paths below `folder` of all files named like photos, in sub-folders too, ordered as bytes.

    Raises:
        ToolError: There are none, or a name is not text.
    """
    names = [
        (Path(parent) / file).relative_to(folder).as_posix()
        for parent, _, files in os.walk(folder)
        for file in files
        if file.lower().endswith(SUFFIXES)
    ]
    for name in names:
        if not name.isprintable():
            raise ToolError(folder, f"rename {name!r}; names must be printable text, for the file lists them")
    if not names:
        raise ToolError(folder, f"no photos in it; looked for {', '.join(SUFFIXES)}")
    return sorted(names, key=os.fsencode)


def listing_sha256(lines: Iterable[str]) -> str:
    """SHA-256 of a list of names."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def files_sha256(folder: Path, names: Iterable[str]) -> str:
    """SHA-256 of the names and sizes of files below `folder`."""
    return listing_sha256(f"{name} {_size(folder / name)}" for name in names)


def _size(path: Path) -> int | str:
    try:
        return path.stat().st_size
    except OSError:  # a link that leads nowhere, say: whoever reads it will give the reason
        return "unknown"
