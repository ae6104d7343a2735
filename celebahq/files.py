"""Files that appear complete or not at all, their checksums, and append-only JSON lines."""

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from celebahq.errors import FormatError, ToolError

log = logging.getLogger(__name__)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield `NAME.partial` to write to; on success it is synced and renamed to `path`, else removed.

    Raises:
        ToolError: Another process is writing it, or the disk is full.
    """
    partial = path.with_name(path.name + ".partial")
    make_folder(path.parent)
    with _alone_at(partial, path):
        try:
            with _disk_full_named(path):
                yield partial
                sync_file(partial)
            os.replace(partial, path)
            sync_directory(path.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield `NAME.partial`, an empty folder to fill; on success it is renamed to `path`, else removed.

    Raises:
        ToolError: Another process is writing it, or the disk is full.
    """
    partial = path.with_name(path.name + ".partial")
    make_folder(partial)
    with _alone_at(partial, path):
        try:
            for left in partial.iterdir():  # by a run that was killed
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            with _disk_full_named(path):
                yield partial
            os.sync()  # of all its files, before the name says that they are there
            os.replace(partial, path)
            sync_directory(path.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


@contextmanager
def _alone_at(partial: Path, path: Path) -> Iterator[None]:
    """Hold a file, made if it is not there, or a folder, so that no other process writes the same at once.

    The kernel lets go of it when this process ends, however that happens.

    Raises:
        ToolError: Another process holds it.
    """
    flags = os.O_RDONLY if partial.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(partial, flags, 0o666)
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = os.path.samestat(os.fstat(descriptor), partial.stat())  # or the other has just ended
            except (BlockingIOError, FileNotFoundError):
                alone = False
            if not alone:
                raise ToolError(path, "another process is writing it; wait for it, or choose another name")
        yield
    finally:
        os.close(descriptor)


@contextmanager
def atomic_zip(path: Path) -> Iterator[Callable[[str, bytes], None]]:
    """Yield `write(name, data)`; the zip appears at `path` on success, the same bytes for the same files.

    They are stored as they are, with a date of 1980, for a zip knows no "no date".
    """
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        yield lambda name, data: archive.writestr(zipfile.ZipInfo(name), data)


@contextmanager
def _disk_full_named(path: Path) -> Iterator[None]:
    """The system does not say what could not be written for want of space."""
    try:
        yield
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ToolError(path, "not written, for the disk is full") from err
        raise


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where they are missing; a loss of power does not undo it.

    Raises:
        ToolError: One of them is a file.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            sync_directory(folder.parent)
    except (FileExistsError, NotADirectoryError) as err:
        raise ToolError(err.filename, "not a folder, so that nothing can be written in it") from err


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_json_rows(path: Path, facts: Mapping[str, Any], rows: Mapping[str, Iterable[Any]]) -> None:
    """Write a JSON object, `facts` and after them `rows`, long lists that need not be in memory at once.

    Every entry of a list has a line of its own.
    """
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(json.dumps(facts, indent=2, ensure_ascii=False).removesuffix("\n}"))
        for name, entries in rows.items():
            file.write(f",\n  {json.dumps(name)}: [")
            for number, entry in enumerate(entries):
                file.write(f"{',' if number else ''}\n    {json.dumps(entry, ensure_ascii=False)}")
            file.write("\n  ]")
        file.write("\n}\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        ToolError: It is missing or holds something else.
    """
    try:
        return parse_json(path.read_bytes(), str(path))
    except FileNotFoundError as err:
        raise ToolError(path, "no such file") from err


def parse_json(data: bytes | str, name: str) -> dict[str, Any]:
    """One JSON object; `name` of where it comes from is for messages.

    Raises:
        FormatError: It is damaged, nested too deeply, or something else.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as err:  # of JSON, UTF-8 and numbers of thousands of digits
        raise FormatError(name, f"damaged, not JSON: {err}") from err
    if not isinstance(value, dict):
        raise FormatError(name, "damaged, not a JSON object")
    return value


def append_jsonl(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON object as a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_jsonl(path: Path, *, each_has: str | None = None) -> list[dict[str, Any]]:
    """Read the complete lines of a JSON-lines file; a last line cut short by a crash is left out.

    Args:
        path: The file.
        each_has: A name that every record must have. Damaged lines are left out too, and that is said.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    records = [record for line in lines if line and (record := _record(line, each_has)) is not None]
    damaged = sum(map(bool, lines)) - len(records)
    if damaged:
        log.warning("%s: %s damaged lines of %s are left out", path, f"{damaged:,}", f"{len(lines):,}")
    return records


def _record(line: str, name: str | None) -> dict[str, Any] | None:
    """The JSON object in a line, if it is one and has the name."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and (name is None or name in value) else None


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_file(path: Path) -> str:
    """MD5 of a file's bytes, in hex; for published checksums only."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def refuse_existing(path: Path, *, overwrite: bool | None = None) -> None:
    """Raise `ToolError` if `path` is there already and may not be replaced; a folder never may.

    Args:
        path: What is to be made.
        overwrite: The command's option of that name; None where it has none.
    """
    if path.exists() and (path.is_dir() or not overwrite):
        removed = overwrite is None or path.is_dir()
        remedy = "remove it" if removed else "pass --overwrite to replace it"
        raise ToolError(path, f"exists already; choose another name, or {remedy}")


def refuse_input(out: Path, inputs: Iterable[Path]) -> None:
    """Raise `ToolError` if a file to be made is one of those that it is made of."""
    if out.exists() and any(path.exists() and out.samefile(path) for path in inputs):
        raise ToolError(out, "it is made of this very file, which would be replaced; choose another name")


def require_writable(path: Path, *, overwrite: bool | None = None) -> None:
    """Find out before the work whether a file can be written at `path`; makes its folder.

    Args:
        path: What is to be made.
        overwrite: As for `refuse_existing`.

    Raises:
        ToolError: It is there already, or its folder is none, or closed to the user.
        OSError: The folder cannot be made.
    """
    refuse_existing(path, overwrite=overwrite)
    make_folder(path.parent)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ToolError(path.parent, "you may not write there; choose another place")


def sync_file(path: Path) -> None:
    """Force a file's contents to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Force a directory's entries (a rename, say) to disk."""
    sync_file(path)
