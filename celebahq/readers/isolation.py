"""Readers written in C, at work on files from outside in a process of their own.

HDF5, LMDB and SciPy's reader of .mat files may crash on a damaged file, loop, or ask for any amount of
memory. A helper process, one for each process that needs it, runs them: what ends it is one error that
names the file. The helper answers in JSON and plain arrays, and nothing that it says is unpickled.
"""

import atexit
import copy
import json
import mmap
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import TOO_LITTLE_MEMORY, FormatError, ToolError

TIME_LIMIT_SEC = 120
MEMORY_LIMIT_BYTES = 4 << 30
"""Of the helper's own memory; files that it maps do not count."""
KEPT_TRAY_BYTES = 64 << 20
"""A larger tray is given back before the next answer."""

_SIZE = struct.Struct("<Q")


def run_apart(
    function: Callable[..., Any],
    *args: Any,
    name: str,
    file: int | None = None,
    take: Callable[[Any], Any] = copy.deepcopy,
    seconds: int | None = None,
) -> Any:
    """Call a function of this package in the helper process.

    Args:
        function: `function(file, name, *args)`, found again by its module and name. It turns what its reader
            raises into `FormatError`.
        args: Numbers, text, and lists of them.
        name: The file's name, for messages.
        file: Descriptor of the open file; the function gets its own number for it.
        take: Gets the answer, whose arrays lie in memory that the next answer will overwrite.
        seconds: Limit of time, `TIME_LIMIT_SEC` unless told.

    Returns:
        What `take` returns; a copy of the answer unless told. The function may answer with numbers, text,
        bytes, NumPy arrays of numbers, and lists and dictionaries of them.

    Raises:
        FormatError: The function says so; or the reader crashed, or took more time than allowed.
        ToolError: As the function does; or the reader took more memory than there is, or is allowed.
    """
    seconds = seconds or TIME_LIMIT_SEC
    request = [function.__module__, function.__qualname__, name, args, seconds]
    with _lock:
        try:
            was_used = bool(_helpers) and _helpers[0].used
            try:
                return take(_ask(request, file))
            except _Crashed:
                if not was_used:
                    raise
                return take(
                    _ask(request, file)
                )  # it may have been hurt by an earlier file: a fresh one decides
        except _HelperDied as err:
            raise FormatError(name, f"damaged: {err.cause(seconds)}") from None


def scratch(shape: tuple[int, ...], dtype: Any = np.uint8) -> NDArray[Any]:
    """An array that an answer carries without copying; for functions at work in the helper."""
    return np.empty(shape, dtype) if _tray is None else _tray.array(shape, dtype)


class _HelperDied(Exception):
    """The helper ended before it answered."""

    def cause(self, seconds: int) -> str:
        return f"reading it took longer than {seconds} s"


class _Crashed(_HelperDied):
    """Not for want of time."""

    def cause(self, seconds: int) -> str:
        return f"the library that reads such files crashed on it ({self})"


def _ask(request: Any, file: int | None) -> Any:
    if not _helpers:
        _helpers.append(_Helper())
    try:
        return _helpers[0].ask(request, file)
    except ToolError:
        raise
    except BaseException:  # an interrupted question leaves its answer on the way
        _helpers.pop().end()
        raise


class _Helper:
    """The helper as its parent sees it."""

    def __init__(self) -> None:
        self.used = False
        self._socket, theirs = socket.socketpair()
        self._tray_file = _tray_file()
        self._tray: mmap.mmap | None = None
        descriptors = (theirs.fileno(), self._tray_file)
        program = (
            f"import sys; sys.path[:] = {sys.path!r}; from celebahq.readers.isolation import _serve; "
            f"_serve({theirs.fileno()}, {self._tray_file}, {MEMORY_LIMIT_BYTES})"
        )
        threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **threads},
                process_group=0,  # Ctrl-C is the parent's to handle
            )
        if self._socket.recv(1) != b"+":
            self.end()
            raise OSError("the process that reads files from outside could not be started")

    def ask(self, request: Any, file: int | None) -> Any:
        """Send one request and wait for the answer."""
        self.used = True
        message = json.dumps(request).encode()
        try:
            socket.send_fds(self._socket, [_SIZE.pack(len(message))], [] if file is None else [file])
            self._socket.sendall(message)
            answer = json.loads(_receive(self._socket))
        except (ConnectionError, EOFError):
            raise self._cause_of_death() from None
        if "value" in answer:
            return _unpacked(answer["value"], self._view(answer["tray"]))
        if "fault" in answer:
            raise RuntimeError(answer["fault"])
        raise (FormatError if answer["is_format_error"] else ToolError)(answer["subject"], answer["reason"])

    def _view(self, size: int) -> memoryview:
        if self._tray is None or len(self._tray) != size:
            self._tray = mmap.mmap(self._tray_file, size, access=mmap.ACCESS_READ) if size else None
        return memoryview(self._tray or b"")

    def _cause_of_death(self) -> _HelperDied:
        status = self._process.wait()
        if status == -signal.SIGALRM:
            return _HelperDied()
        return _Crashed(signal.Signals(-status).name if status < 0 else f"status {status}")

    def end(self) -> None:
        """End the process and wait for it."""
        self._socket.close()
        self._process.kill()
        self._process.wait()
        os.close(self._tray_file)

    def forget(self) -> None:
        """Leave it to the parent of this forked process."""
        self._socket.close()
        os.close(self._tray_file)
        self._process.returncode = 0  # else its destructor warns of a process that is not this one's


_lock = threading.Lock()
_helpers: list[_Helper] = []  # one, or none yet


def _end_helper() -> None:
    while _helpers:
        _helpers.pop().end()


def _forget_helper() -> None:
    global _lock
    _lock = threading.Lock()
    while _helpers:
        _helpers.pop().forget()


atexit.register(_end_helper)
os.register_at_fork(after_in_child=_forget_helper)


class _Tray:
    """Memory that helper and parent share: the arrays of the latest answer lie in it."""

    def __init__(self, file: int) -> None:
        self._file, self._used = file, 0
        self._map: mmap.mmap | None = None

    @property
    def size(self) -> int:
        return 0 if self._map is None else len(self._map)

    def clear(self) -> None:
        self._used = 0
        if self.size > KEPT_TRAY_BYTES:
            self._map = None
            os.ftruncate(self._file, 0)

    def array(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        dtype = np.dtype(dtype)
        start = -(-self._used // 64) * 64
        self._used = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
        if self._used > self.size:
            self._grow(self._used)
        return np.ndarray(shape, dtype, self._map, start)

    def place(self, array: NDArray[Any]) -> int:
        """Offset at which an array lies, after it was copied where it must."""
        base = 0 if self._map is None else np.frombuffer(self._map, np.uint8).ctypes.data
        offset = array.ctypes.data - base
        if not (0 <= offset <= self.size - array.nbytes and array.flags.c_contiguous and array.nbytes):
            copy = self.array(array.shape, array.dtype)
            copy[...] = array
            return self._used - copy.nbytes
        return offset

    def _grow(self, size: int) -> None:
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, 0, size)  # says now if there is no room, where a write would crash
        else:
            os.ftruncate(self._file, size)
        self._map = mmap.mmap(self._file, size)  # earlier arrays keep the old map, of the same pages


_tray: _Tray | None = None  # in the helper only


def _tray_file() -> int:
    """A file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("celebahq-tray")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _serve(connection: int, tray_file: int, memory: int) -> NoReturn:
    """What the helper does: answer until its parent is gone."""
    global _tray
    _tray = _Tray(tray_file)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (memory if hard < 0 else min(memory, hard), hard))
    with socket.socket(fileno=connection) as parent:
        parent.sendall(b"+")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C libraries complain there
        while True:
            head, files, _, _ = socket.recv_fds(parent, _SIZE.size, 1)
            if len(head) < _SIZE.size:
                os._exit(0)
            *request, seconds = json.loads(_receive_exactly(parent, *_SIZE.unpack(head)))
            signal.alarm(seconds)  # its default action ends the process, in whatever loop it is
            answer = json.dumps(_answer(request, files)).encode()
            signal.alarm(0)
            for file in files:
                os.close(file)
            parent.sendall(_SIZE.pack(len(answer)) + answer)


def _answer(request: list[Any], files: list[int]) -> dict[str, Any]:
    assert _tray is not None
    module, function, name, args = request
    _tray.clear()
    try:
        value = getattr(import_module(module), function)(*files, name, *args)
        return {"value": _packed(value, _tray), "tray": _tray.size}
    except MemoryError:
        limit = resource.getrlimit(resource.RLIMIT_DATA)[0] / 2**30
        reason = f"{TOO_LITTLE_MEMORY} (at most {limit:.3g} GiB are taken)"
        return {"is_format_error": False, "subject": name, "reason": reason}
    except ToolError as err:
        subject, reason = (err.subject or name), err.reason
        return {"is_format_error": isinstance(err, FormatError), "subject": subject, "reason": reason}
    except Exception:  # a fault of ours: the parent raises it
        return {"fault": traceback.format_exc()}


def _packed(value: Any, tray: _Tray) -> Any:
    """A value as JSON; its arrays are in the tray."""
    if isinstance(value, np.ndarray):
        return {"array": [tray.place(value), value.dtype.str, value.shape]}
    if isinstance(value, bytes):
        array = np.frombuffer(value, np.uint8)
        return {"bytes": [tray.place(array), array.dtype.str, array.shape]}
    if isinstance(value, dict):
        return {"items": [[key, _packed(item, tray)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_packed(item, tray) for item in value]
    return value


def _unpacked(value: Any, tray: memoryview) -> Any:
    """What `_packed` was given; arrays lie in the tray."""
    if isinstance(value, list):
        return [_unpacked(item, tray) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "items":
        return {key: _unpacked(item, tray) for key, item in content}
    offset, dtype, shape = content
    if np.dtype(dtype).hasobject:  # addresses, from a process that a file may have taken over
        raise FormatError("the process that reads files from outside answered with no numbers")
    array = np.ndarray(shape, np.dtype(dtype), tray, offset)
    return array.tobytes() if kind == "bytes" else array


def _receive(connection: socket.socket) -> bytes:
    return _receive_exactly(connection, *_SIZE.unpack(_receive_exactly(connection, _SIZE.size)))


def _receive_exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(size - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
