"""One run per job: advisory locks that the kernel drops when their holder dies."""

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from celebahq.console import status
from celebahq.errors import ToolError

PATIENCE_SEC = 2.0


@contextmanager
def owning(lock: Path) -> Iterator[str]:
    """Hold `lock` for this run; yields the run's token, which `require_owner` compares.

    A killed run's lock may outlive it for a moment: in a child that has not begun its own program yet.

    Raises:
        ToolError: Another process holds it.
    """
    with lock.open("a+", encoding="utf-8") as file:
        if not _locked_in_time(file):
            file.seek(0)
            holder = json.loads(file.read() or "{}")
            raise ToolError(
                f"{lock.parent}: another run is at work here (process {holder.get('pid', '?')} on "
                f"{holder.get('host', '?')}); wait for it, or end it and run the same command again"
            )
        token = uuid.uuid4().hex
        file.truncate(0)
        json.dump({"token": token, "pid": os.getpid(), "host": socket.gethostname()}, file)
        file.flush()
        yield token


def _locked_in_time(file: TextIO) -> bool:
    """Take a lock within `PATIENCE_SEC`; gives whether that came about."""
    patient_until = time.monotonic() + PATIENCE_SEC
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > patient_until:
                return False
            time.sleep(0.05)


def require_owner(lock: Path, token: str) -> None:
    """Refuse to work for a run that has ended and been followed by another."""
    text = lock.read_text(encoding="utf-8")
    if not text or json.loads(text)["token"] != token:
        raise ToolError(f"{lock.parent}: another run has taken this job over")


@contextmanager
def working_on(path: Path, shard: int) -> Iterator[None]:
    """Show that a worker is writing, one per shard; waits for another that is at the same shard."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        fcntl.lockf(file, fcntl.LOCK_EX, 1, shard)
        yield


def wait_for_workers(path: Path) -> None:
    """Wait until no worker of an earlier run is writing any more."""
    with path.open("a") as file:
        if not _locked_in_time(file):
            status(f"{path.parent}: waiting for workers of an earlier run to end")
            fcntl.flock(file, fcntl.LOCK_EX)
