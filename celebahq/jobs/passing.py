"""Which errors are the item's own, and which may pass: those of disks, networks, memory and devices."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

MAY_PASS = {
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "EREMOTEIO", "ENODEV", "ENXIO", "ENOTCONN", "ESHUTDOWN", "ETIMEDOUT", "EAGAIN"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ECONNRESET", "ECONNREFUSED", "EPIPE"),
        *("ENOMEM", "ENOBUFS", "EMFILE", "ENFILE", "EINTR", "EBUSY"),
    )
    if hasattr(errno, name)
}
DEVICE_ERRORS = ("CUDA", "cuda", "cuDNN", "CUBLAS", "out of memory", "can't allocate memory")
"""In the messages of PyTorch's RuntimeErrors, of which some have no class of their own."""


def may_pass(err: BaseException) -> bool:
    """Whether the same item may well be done later, or elsewhere.

    A missing file is the item's own trouble as long as there are others beside it: a whole folder that is
    not there, or that is empty, is a disk that went away.
    """
    return any(_surroundings(cause) for cause in _causes(err))


def _causes(err: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was made of."""
    cause: BaseException | None = err
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _surroundings(err: BaseException) -> bool:
    if isinstance(err, MemoryError):
        return True
    if isinstance(err, FileNotFoundError):
        return err.filename is not None and not _has_others(Path(os.fsdecode(err.filename)).parent)
    if isinstance(err, OSError):
        return err.errno in MAY_PASS
    return isinstance(err, RuntimeError) and any(word in str(err) for word in DEVICE_ERRORS)


def _has_others(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
