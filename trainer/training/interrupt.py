"""Ctrl-C and SIGTERM as a request that the loop grants at the next safe point."""

import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

from celebahq.console import status


class Interrupt:
    """While active, the first signal sets `requested`; Ctrl-C again, after a second or more, stops at once.

    Launchers pass a signal on to processes that have received it already.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self._first = 0.0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._receive) for number in self.SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.requested:
            self.requested, self._first = True, now
            status("interrupt: the state is saved after this step; Ctrl-C once more stops at once")
        elif number == signal.SIGINT and now - self._first >= 1.0:
            raise KeyboardInterrupt
