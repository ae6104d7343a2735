"""What a long job says, on the terminal: its log lines and its progress, on stderr."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from celebahq.console import Progress, status, volume, warn
from celebahq.jobs.progress import Stage


@contextmanager
def on_terminal(package: str = "celebahq") -> Iterator["Stages"]:
    """Connect a package's logger to the terminal; yields what shows progress there."""
    logger, handler, stages = logging.getLogger(package), _StatusLines(), Stages()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        with stages:
            yield stages
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


class Stages:
    """The stages of a job, one after the other, each with its bar or lines; see `celebahq.jobs.progress`."""

    def __init__(self) -> None:
        self._shown: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown.__exit__(kind, value, trace)

    def __call__(self, stage: Stage) -> None:
        """Show where a stage is."""
        if self._shown is None or self._shown.stage != stage.name:
            self.__exit__(None, None, None)
            self._shown = Progress(stage.name, stage.total, unit=stage.unit, done=stage.done)
            self._shown.__enter__()
            self._shown.skipped = stage.skipped
        else:
            self._shown.advance(stage.done - self._shown.done, skipped=stage.skipped - self._shown.skipped)


class _StatusLines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            warn(f"warning: {self.format(record)}")
        elif record.levelno >= logging.INFO or volume() > 0:
            status(self.format(record))
