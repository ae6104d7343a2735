"""Signals as a request that the loop grants at the next safe point."""

import logging
import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)


class Interrupted(KeyboardInterrupt):
    """A signal has ended the run, with everything saved."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number  # of the signal


class Interrupt:
    """While active, the first signal sets `requested`; Ctrl-C again, after a second or more, stops at once.

    Launchers pass a signal on to processes that have received it already. SIGHUP and SIGUSR1 are what batch
    systems send before they take a machine away; a SIGHUP that is ignored (`nohup`) stays so.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

    def __init__(self) -> None:
        self.requested = 0
        """The signal's number; 0 before there was one."""
        self._first = 0.0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in self.SIGNALS:
            if not (number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.requested:
            self.requested, self._first = number, now
            name = signal.Signals(number).name
            log.info(f"{name}: the state is saved after this step; Ctrl-C once more stops at once")
        elif number == signal.SIGINT and now - self._first >= 1.0:
            raise KeyboardInterrupt
