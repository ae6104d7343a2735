"""Sets of picture files: a folder with all that is below it, or a zip."""

import os
import posixpath
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

from celebahq.errors import FormatError, ToolError, one_line
from celebahq.pictures.decoding import open_picture
from celebahq.pictures.suffixes import SUFFIXES
from celebahq.readers.zips import open_member, open_zip, read_member

SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP")
"""First bytes of JPEG, PNG, GIF, TIFF and JPEG 2000; others have theirs further on."""

KINDS_NAMED = 8
"""How many kinds of other files are named."""


class PictureFiles(ABC):
    """Picture files under one name, in the order of their names' bytes; picklable.

    These are files named like pictures, and files without an ending that begin as pictures do. Hidden ones
    are left out.
    """

    path: Path
    names: list[str]
    """Paths below it, with slashes."""
    remark: str
    """What is left out, by kind; empty if that is nothing."""

    def __init__(self, path: Path, found: Iterable[str]) -> None:
        """Args: `found` are the names of all files.

        Raises:
            ToolError: There is no picture among them.
        """
        self.path, self.names = path, []
        others = Counter[str]()
        for name in found:
            suffix = posixpath.splitext(name)[1].lower()
            if any(part.startswith(".") for part in name.split("/")):
                others["hidden"] += 1
            elif suffix in SUFFIXES or (not suffix and self._begins_as_picture(name)):
                self.names.append(name)
            else:
                others[one_line(suffix) or "without an ending"] += 1
        self.names.sort(key=os.fsencode)
        left_out = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common(KINDS_NAMED))
        if len(others) > KINDS_NAMED:
            left_out += f", {len(others) - KINDS_NAMED} more kinds"
        if not self.names:
            raise ToolError(
                path, f"no pictures in it (found {left_out or 'nothing'}); looked for {', '.join(SUFFIXES)}"
            )
        self.remark = f"{path}: {len(self.names):,} pictures; not looked at: {left_out}" if others else ""

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """One file, to be read inside.

        Raises:
            ToolError: It cannot be opened, or read inside.
        """

    @abstractmethod
    def beside(self, name: str) -> bytes | None:
        """Contents of another file of the set; None where there is none of that name."""

    def _begins_as_picture(self, name: str) -> bool:
        """Whether a file's first bytes are those of a picture's format."""
        try:
            with self.open(name) as file:
                start = file.read(12)
        except ToolError:  # no file, or closed to us: nobody said that it is a picture
            return False
        return start.startswith(SIGNATURES) or start[4:8] == b"ftyp" or start[:4] + start[8:] == b"RIFFWEBP"


class FolderFiles(PictureFiles):
    """Picture files in a folder and the folders in it, links to folders followed."""

    def __init__(self, path: Path) -> None:
        """Raises: ToolError: There are none, or a folder cannot be read, or is in itself by a link."""
        self.path = path
        super().__init__(path, (file.relative_to(path).as_posix() for file in _walk(path, ())))

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """See `PictureFiles`."""
        with open_picture(self.path / name) as file:
            yield file

    def beside(self, name: str) -> bytes | None:
        """See `PictureFiles`."""
        path = self.path / name
        return path.read_bytes() if path.is_file() else None


def _walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """All files below a folder, none passed over in silence; `above` identifies the folders that it is in."""
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


class ZipFiles(PictureFiles):
    """Picture files in a zip."""

    def __init__(self, path: Path) -> None:
        """Raises: FormatError: It is damaged, or names a file twice."""
        self.path = path
        self._stored: dict[str, str] = {}  # name -> as the zip has it
        for entry in self.archive.infolist():
            if entry.is_dir():
                continue
            name = posixpath.normpath(entry.filename.replace("\\", "/")).lstrip("/")
            if name in self._stored:
                raise FormatError(path, f"holds {name} twice; make the zip again")
            self._stored[name] = entry.filename
        super().__init__(path, self._stored)

    def __getstate__(self) -> dict[str, Any]:
        """All but the open file."""
        return {name: value for name, value in self.__dict__.items() if name != "archive"}

    @cached_property
    def archive(self) -> ZipFile:
        """The zip, open."""
        return open_zip(self.path)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """See `PictureFiles`."""
        with open_member(self.archive, self._stored[name], f"{self.path}/{name}") as file:
            yield file

    def beside(self, name: str) -> bytes | None:
        """See `PictureFiles`."""
        return read_member(self.archive, self._stored[name]) if name in self._stored else None
