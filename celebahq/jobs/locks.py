"""Locks that the kernel drops when their holder dies, on local disks and on NFS alike.

A file is locked in one way only: NFS turns `flock` into a lock of all its bytes, which `lockf` would meet.
The run's lock is a `flock`; workers lock one byte each. Whoever locks a file can read and write it.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

from celebahq.errors import ToolError
from celebahq.files import make_folder, sync_directory

log = logging.getLogger(__name__)

PATIENCE_SEC = 2.0
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
HELD_BY_OTHERS = (errno.EAGAIN, errno.EACCES)

_one_worker = threading.Lock()  # a process's own locks of bytes do not keep its threads apart


@contextmanager
def owning(lock: Path) -> Iterator[str]:
    """Hold `lock` for this run; yields the run's token, which `require_owner` compares.

    Its folder is made if it is missing. A killed run's lock may outlive it for a moment: in a child that has
    not begun its own program yet.

    Raises:
        ToolError: Another process holds it, or the file system has no locks.
    """
    with _locked_file(lock) as file:
        token = uuid.uuid4().hex
        file.truncate(0)
        json.dump({"token": token, "pid": os.getpid(), "host": socket.gethostname()}, file)
        file.flush()
        os.fsync(file.fileno())  # workers on other machines read it
        for folder in (
            lock.parent,
            lock.parent.parent,
        ):  # or all that is done in it might go with a power loss
            sync_directory(folder)
        yield token


def is_held(lock: Path) -> bool:
    """Whether a run holds a lock now; an error where the file may not be read."""
    try:
        file = lock.open("r", encoding="utf-8")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as err:
            return err.errno in HELD_BY_OTHERS
    return False


@contextmanager
def _locked_file(lock: Path) -> Iterator[TextIO]:
    """The file behind a name, locked; its last holder may have removed the one that was there before."""
    while True:
        make_folder(lock.parent)
        try:
            file = lock.open("a+", encoding="utf-8")
        except FileNotFoundError:  # the last holder removed the folder just now
            continue
        with file:
            if not _in_time(partial(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB), lock):
                file.seek(0)
                raise ToolError(lock.parent, f"another run is at work here{_holder(file.read())}")
            if _is_still(lock, file):
                yield file
                return


def _is_still(path: Path, file: TextIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _holder(text: str) -> str:
    try:
        facts = json.loads(text)
        return (
            f" (process {facts['pid']} on {facts['host']}); wait for it, or end it and run the same "
            "command again"
        )
    except (ValueError, KeyError, TypeError):  # it has just begun
        return "; wait for it"


def _in_time(take: Callable[[], None], path: Path) -> bool:
    """Take a lock within `PATIENCE_SEC`; gives whether that came about."""
    patient_until = time.monotonic() + PATIENCE_SEC
    while True:
        try:
            take()
            return True
        except OSError as err:
            if err.errno in NO_LOCKS:
                raise ToolError(
                    path.parent,
                    f"this file system has no locks ({err.strerror}); put the output on a "
                    "local disk or on NFSv4",
                ) from err
            if err.errno not in HELD_BY_OTHERS:
                raise
        if time.monotonic() > patient_until:
            return False
        time.sleep(0.05)


def require_owner(lock: Path, token: str) -> None:
    """Refuse to work for a run that has ended and been followed by another."""
    text = lock.read_text(encoding="utf-8")
    if not text or json.loads(text)["token"] != token:
        raise ToolError(lock.parent, "another run has taken this job over")


@contextmanager
def working_on(path: Path, shard: int) -> Iterator[None]:
    """Show that a worker is writing, one per shard; waits for another that is at the same shard."""
    with _one_worker, path.open("a+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 1, shard)
        yield


def wait_for_workers(path: Path) -> None:
    """Wait until no worker of an earlier run is writing any more."""
    with path.open("a+") as file:
        if not _in_time(partial(fcntl.lockf, file, fcntl.LOCK_EX | fcntl.LOCK_NB), path):
            log.info("%s: waiting for workers of an earlier run to end", path.parent)
            fcntl.lockf(file, fcntl.LOCK_EX)
