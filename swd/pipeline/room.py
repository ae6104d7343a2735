"""Room on disk, said before the work and while it lasts."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celebahq.errors import ToolError


def require_room(folder: Path | str, needed: int, what: str, remedy: str) -> None:
    """Raise `ToolError` if there is less room in a folder than the bytes that `what` takes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ToolError(
            str(folder),
            f"{free / 1e9:.1f} GB free, but the {what} take {needed / 1e9:.1f} GB; {remedy}",
        )


@contextmanager
def full_disk_named(folder: Path | str, remedy: str) -> Iterator[None]:
    """Say which folder's disk is full: temporary files have no name that would tell.

    Raises:
        ToolError: In the place of the system's error.
    """
    try:
        yield
    except OSError as err:
        if err.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ToolError(str(folder), f"the disk is full; {remedy}") from err
