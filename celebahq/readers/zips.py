"""Zip files from outside."""

import errno
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from celebahq.errors import TOO_LITTLE_MEMORY, FormatError, ToolError

MAX_MEMBER_BYTES = 1 << 30
UNZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # encrypted
    NotImplementedError,  # a compression that Python does not know
    ValueError,
    IndexError,
    OverflowError,
    struct.error,
)


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip to read from.

    Raises:
        FormatError: It is none, is damaged, or names a file twice, so that only one of the two could be read.
    """
    with zip_errors(str(path), "not a zip, or damaged"):
        archive = zipfile.ZipFile(path)
        seen: set[str] = set()
        for name in archive.namelist():
            if not name or name in seen:
                archive.close()
                what = f"holds {name} twice" if name else "holds a file without a name"
                raise FormatError(path, f"{what}; make the zip again")
            seen.add(name)
    return archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Unpack one file; errors as of `open_member`."""
    with open_member(archive, name, name) as file:
        return file.read()


@contextmanager
def open_member(archive: zipfile.ZipFile, name: str, label: str) -> Iterator[BinaryIO]:
    """One file, to be read inside; `label` is its name in messages.

    Raises:
        FormatError: It is damaged, encrypted, or packed in a way that is not known.
        ToolError: It is larger than `MAX_MEMBER_BYTES`.
    """
    info = archive.getinfo(name)
    if info.file_size > MAX_MEMBER_BYTES:
        raise ToolError(label, f"{info.file_size:,} bytes, but at most {MAX_MEMBER_BYTES:,} are unpacked")
    with zip_errors(label), archive.open(info) as file:
        yield cast(BinaryIO, file)


@contextmanager
def zip_errors(name: str, what: str = "cannot be unpacked") -> Iterator[None]:
    """What `zipfile` and the decompressors under it raise for damaged files, as `FormatError`.

    Raises:
        ToolError: There is too little memory.
    """
    try:
        yield
    except UNZIP_ERRORS as err:
        raise FormatError(name, f"{what}: {err or type(err).__name__}") from err
    except MemoryError as err:
        raise ToolError(name, TOO_LITTLE_MEMORY) from err
    except OSError as err:
        if err.errno not in (None, errno.EINVAL):  # of the system
            raise
        raise FormatError(name, f"{what}: {err}") from err  # of bzip2, or a place before the file's start
