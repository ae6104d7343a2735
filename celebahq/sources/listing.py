"""Which files a folder holds, and what tells one listing from another."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from celebahq.errors import ToolError, one_line
from celebahq.pictures.decoding import SUFFIXES, open_picture

log = logging.getLogger(__name__)

SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP")
"""First bytes of JPEG, PNG, GIF, TIFF and JPEG 2000; others have theirs further on."""


def find_photos(folder: Path) -> list[str]:
    """Paths below `folder` of all files that may be photos, in sub-folders too, ordered as bytes.

    These are files named like photos, and files without an ending that begin as pictures do. What is not
    looked at is said, by kind.

    Raises:
        ToolError: There are none, or a folder cannot be read.
    """
    names, others = [], Counter[str]()
    for path in walk(folder):
        if path.name.lower().endswith(SUFFIXES) or (not path.suffix and begins_as_picture(path)):
            names.append(path.relative_to(folder).as_posix())
        else:
            others[one_line(path.suffix.lower()) or "without an ending"] += 1
    if others:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common(8))
        more = f", {len(others) - 8} more kinds" if len(others) > 8 else ""
        log.info("%s: files that are no photos are not looked at: %s%s", folder, kinds, more)
    if not names:
        raise ToolError(folder, f"no photos in it; looked for {', '.join(SUFFIXES)}")
    return sorted(names, key=os.fsencode)


def begins_as_picture(path: Path) -> bool:
    """Whether a file's first bytes are those of a picture's format."""
    try:
        with open_picture(path) as file:
            start = file.read(12)
    except ToolError:  # no file, or closed to us: nobody said that it is a photo
        return False
    return start.startswith(SIGNATURES) or start[4:8] == b"ftyp" or start[:4] + start[8:] == b"RIFFWEBP"


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
