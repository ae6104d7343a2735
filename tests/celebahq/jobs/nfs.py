"""A process that sees its files as an NFS client does: `behave_like_nfs()`.

- `flock` is a lock of all bytes of the file, which meets other locks of bytes; a shared one needs a file that
  is open for reading, an exclusive one a file that is open for writing.
- A name that was looked up and was missing stays missing for a while, though others have made it since.
"""

import fcntl
import io
import os
import struct
import time

STALE_SEC = 3.0

FLOCK = struct.Struct("hhqqi4x")  # l_type, l_whence, l_start, l_len, l_pid
missing = {}  # name -> until when


def behave_like_nfs():
    fcntl.flock = flock
    os.stat, io.open = seeing_stale_names(os.stat), seeing_stale_names(io.open)
    os.open, os.replace = making_known(os.open, 0), making_known(os.replace, 1)


def flock(file, operation):
    """As flock(2) says under "NFS details"; the lock belongs to the open file, as a flock does."""
    kinds = {fcntl.LOCK_SH: fcntl.F_RDLCK, fcntl.LOCK_EX: fcntl.F_WRLCK, fcntl.LOCK_UN: fcntl.F_UNLCK}
    kind = kinds[operation & ~fcntl.LOCK_NB]
    command = fcntl.F_OFD_SETLK if operation & fcntl.LOCK_NB else fcntl.F_OFD_SETLKW
    fcntl.fcntl(file, command, FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0))


def seeing_stale_names(look_up):
    def stale(path, *args, **kwargs):
        mode = args[0] if args else kwargs.get("mode", "r")
        if isinstance(path, int) or (isinstance(mode, str) and mode[0] in "wax"):
            return look_up(path, *args, **kwargs)
        name = os.path.abspath(path)
        if missing.get(name, 0) > time.monotonic():
            raise FileNotFoundError(2, "No such file or directory (seen a moment ago)", name)
        try:
            return look_up(path, *args, **kwargs)
        except FileNotFoundError:
            missing[name] = time.monotonic() + STALE_SEC
            raise

    return stale


def making_known(change, position):
    """What this client makes itself, it sees: the argument at `position` names it."""

    def making(*args, **kwargs):
        result = change(*args, **kwargs)
        missing.pop(os.path.abspath(args[position]), None)
        return result

    return making
