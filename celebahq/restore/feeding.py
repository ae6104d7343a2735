"""One process per GPU in which the networks run, for all workers of a machine.

The first worker that needs a GPU starts its process, the others find it by a socket, and it ends some time
after the last has left. Workers decode, find, align, score and encode, and send the tiles that a network is
to see; the process runs one tile batch of one photo after the other, so that a result depends on nothing
else. One that is gone is started anew, and what it was at is tried again.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from celebahq.errors import ToolError
from celebahq.restore.infer import Restorer, load_restorer

HEAD = struct.Struct("<4I")
"""Network and shape [N, H, W] of a batch; of an answer: whether it is an error, and its shape."""
START_SEC, IDLE_SEC, POLL_SEC = 300.0, 30.0, 0.1
ATTEMPTS, PAUSE_SEC = 3, 0.5

Batch = NDArray[np.uint8]


class Model(NamedTuple):
    """A network as `load_restorer` is asked for it."""

    name: str
    strength: float = 1.0
    exact: bool = True

    def load(self, device: str) -> Restorer:
        """Load it."""
        return load_restorer(self.name, device, strength=self.strength, exact=self.exact)


class FedRestorer(Restorer):
    """A restorer whose network runs in the device's process."""

    def __init__(self, local: Restorer, device: "DeviceProcess", number: int) -> None:
        """Args: `local` knows the network's sizes, and stays on the CPU; `number` is its place there."""
        self.__dict__.update(local.__dict__)
        self.device = torch.device(device.name)
        self._process, self._number = device, number

    def run(self, batch: Batch) -> Batch:
        """See `Restorer.run`."""
        return self._process.run(self._number, batch)


class DeviceProcess:
    """The process of a device, as a worker sees it."""

    def __init__(self, name: str, models: Sequence[Model], *, idle_sec: float | None = None) -> None:
        """Find it, or start it.

        Args:
            name: Of the device, `cuda:1`.
            models: The networks that it has loaded, or loads.
            idle_sec: How long it stays without anybody; `IDLE_SEC` unless told.

        Raises:
            ToolError: It cannot be started; the message has its last line.
        """
        self.name, self.models, self._idle_sec = name, list(models), idle_sec or IDLE_SEC
        facts = [name, self.models, version("celebahq-toolkit"), str(Path(__file__)), self._idle_sec]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"celebahq-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise ToolError(folder, "belongs to somebody else; remove it")
        self._base = folder / key
        self._connection = self._connect()

    def restorers(self) -> list[FedRestorer]:
        """The networks as functions on photos."""
        return [FedRestorer(model.load("cpu"), self, i) for i, model in enumerate(self.models)]

    def run(self, number: int, batch: Batch) -> Batch:
        """Let a network restore tiles.

        Args:
            number: Of the network.
            batch: `[N, H, W, 3]` uint8.

        Raises:
            RuntimeError: The network failed, for want of memory, say.
            ConnectionResetError: The process ended, again and again.
        """
        for _ in range(ATTEMPTS):  # it may have gone for want of work, just now
            try:
                return _ask(self._connection, number, batch)
            except (EOFError, OSError):
                self._connection.close()
                time.sleep(PAUSE_SEC)  # one that is being killed accepts connections still
                self._connection = self._connect()
        raise ConnectionResetError(errno.ECONNRESET, f"the process of {self.name} ends again and again")

    def _connect(self) -> Connection:
        end = time.monotonic() + START_SEC
        while time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                return _connected(self._base.with_suffix(".socket"))
            with self._base.with_suffix(".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # one worker starts it, the others wait
                self._start(end)
        raise self._too_slow()

    def _too_slow(self) -> ToolError:
        return ToolError(self.name, f"its process did not start within {START_SEC:.0f} s")

    def _start(self, end: float) -> None:
        """Start the process and wait until it answers, or `time.monotonic()` is `end`; under the lock."""
        place, log = self._base.with_suffix(".socket"), self._base.with_suffix(".log")
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            _connected(place).close()
            return  # another worker has just started it
        place.unlink(missing_ok=True)
        arguments = [str(place), self.name, json.dumps(self.models), str(self._idle_sec)]
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "celebahq.restore.feeding", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        while not place.exists():
            if process.poll() is not None:
                lines = log.read_text().splitlines() or ["no reason"]
                raise ToolError(self.name, f"its process did not start: {lines[-1]}")
            if time.monotonic() > end:  # a device that hangs, which would hang whoever waits for it
                process.kill()
                process.wait()
                raise self._too_slow()
            time.sleep(POLL_SEC)
        process.returncode = 0  # it may outlive this worker, which is not to wait for it


def serve(place: Path, restorers: Sequence[Restorer], idle_sec: float) -> None:
    """Run networks for whoever connects, until nobody has been there for a while."""
    turn = threading.Lock()
    clients: list[threading.Thread] = []

    def attend(connection: Connection) -> None:
        with connection, contextlib.suppress(EOFError, OSError):
            while True:
                _answer(connection, restorers, turn)

    with socket.socket(socket.AF_UNIX) as listener:
        starting = place.with_suffix(".new")
        starting.unlink(missing_ok=True)
        listener.bind(str(starting))
        listener.listen(1024)
        listener.settimeout(POLL_SEC)
        starting.rename(place)
        busy = time.monotonic()
        while time.monotonic() - busy < idle_sec:
            with contextlib.suppress(TimeoutError):
                connection = Connection(listener.accept()[0].detach())
                clients.append(threading.Thread(target=attend, args=[connection], daemon=True))
                clients[-1].start()
            clients = [client for client in clients if client.is_alive()]
            busy = time.monotonic() if clients else busy
        place.unlink(missing_ok=True)


def _answer(connection: Connection, restorers: Sequence[Restorer], turn: threading.Lock) -> None:
    """Serve one request: reading and writing go on beside the network's work for another client."""
    number, *shape = HEAD.unpack(connection.recv_bytes())
    batch = _received(connection, shape)
    try:
        with turn:
            result = restorers[number].run(batch)
    except Exception as err:  # whatever it is, the worker is to know
        connection.send_bytes(HEAD.pack(1, 0, 0, 0))
        connection.send_bytes(str(err).encode())
        return
    connection.send_bytes(HEAD.pack(0, *result.shape[:3]))
    connection.send_bytes(np.ascontiguousarray(result).reshape(-1).data)


def _ask(connection: Connection, number: int, batch: Batch) -> Batch:
    connection.send_bytes(HEAD.pack(number, *batch.shape[:3]))
    connection.send_bytes(np.ascontiguousarray(batch).reshape(-1).data)
    failed, *shape = HEAD.unpack(connection.recv_bytes())
    if failed:
        raise RuntimeError(connection.recv_bytes().decode())
    return _received(connection, shape)


def _received(connection: Connection, shape: list[int]) -> Batch:
    pixels = np.empty((*shape, 3), np.uint8)
    connection.recv_bytes_into(pixels.reshape(-1).data)
    return pixels


def _connected(place: Path) -> Connection:
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(str(place))
    except OSError:
        client.close()
        raise
    return Connection(client.detach())


def main(place: str, device: str, models: str, idle_sec: str) -> None:
    """The process of a device."""
    restorers = [Model(*model).load(device) for model in json.loads(models)]
    serve(Path(place), restorers, float(idle_sec))


if __name__ == "__main__":
    main(*sys.argv[1:])
