"""What every command shares: the click group, status on stderr, progress, JSON on stdout."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click

from celebahq.errors import ToolError, describe_error, one_line

if TYPE_CHECKING:
    import torch

F = TypeVar("F", bound=Callable[..., Any])

EXIT_SKIPPED = 3
EXIT_INTERRUPTED = 130

PLAIN_INTERVAL_SEC = 10.0


class ToolGroup(click.Group):
    """Reports expected failures as one line on stderr, exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, then explain what failed."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click ends quietly
        except KeyboardInterrupt:
            status("interrupted; nothing is half-written, and the same command goes on or begins again")
            sys.exit(EXIT_INTERRUPTED)
        except MemoryError as err:
            raise click.ClickException("out of memory; ask for less at a time, or of fewer workers") from err
        except (ToolError, OSError) as err:
            raise click.ClickException(one_line(describe_error(err))) from err


def status(message: str) -> None:
    """Say something to the person who waits: one line on stderr."""
    click.echo(one_line(message), err=True)


def emit_json(value: Any) -> None:
    """Print one JSON object as the command's result."""
    click.echo(json.dumps(value, indent=2))


def exit_if_skipped(skipped: int) -> None:
    """End with status 3 when a finished job had to leave items out."""
    if skipped:
        sys.exit(EXIT_SKIPPED)


def resolve_device(name: str) -> "torch.device":
    """`celebahq.processes.choose_device`; says what `auto` means."""
    from celebahq.processes import choose_device

    device = choose_device(name)
    if name == "auto":
        status(f"device: {device}")
    return device


def device_option(command: F) -> F:
    """`--device`, resolved with `resolve_device` inside the command."""
    return click.option(
        "--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:N."
    )(command)


def seed_option(command: F) -> F:
    """`--seed`, 0 unless told."""
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Key of all randomness."
    )(command)


def json_option(command: F) -> F:
    """`--json`: the result as one JSON object on stdout, parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")(
        command
    )


WORKERS = click.IntRange(1, 1024)

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
ANY_PATH = click.Path(exists=True, path_type=Path)


class _NewPath(click.Path):
    """Something that the command will make."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True, ending: str = "") -> None:
        """Args: `ending` is what the name must end in."""
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)
        self.ending = ending

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse the empty name, and one that says another format than is written."""
        if not os.fspath(value):
            self.fail("the name is empty", param, ctx)
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.name.lower().endswith(self.ending):
            self.fail(f"'{path}' does not end in {self.ending}; no other format is written", param, ctx)
        return path


NEW_PATH = _NewPath()
NEW_FILE = _NewPath(dir_okay=False)
NEW_FOLDER = _NewPath(file_okay=False)
NEW_PNG = _NewPath(dir_okay=False, ending=".png")
NEW_MP4 = _NewPath(dir_okay=False, ending=".mp4")
NEW_SAFETENSORS = _NewPath(dir_okay=False, ending=".safetensors")


class Progress:
    """Rate, ETA and skipped count of one stage, on stderr.

    A live bar on a terminal; else a plain line at most every ten seconds and one at the end.
    """

    def __init__(self, stage: str, total: int, *, unit: str = "images", done: int = 0) -> None:
        """Args: `done` items were finished by an earlier run and do not count for the rate."""
        self.stage, self.total, self.unit = stage, total, unit
        self.done, self.skipped = done, 0
        self._start_done = done
        self._start = self._last_line = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),  # paths may have brackets
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(self.stage, total=self.total, completed=self.done, rate="")
            self._bar.start()
        return self

    def advance(self, count: int = 1, *, skipped: int = 0) -> None:
        """Count finished items; `skipped` of them were left out."""
        self.done += count
        self.skipped += skipped
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=self._rate_text(now))
        elif now - self._last_line >= PLAIN_INTERVAL_SEC and self.done < self.total:
            self._last_line = now
            status(self._line(now))

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None:
            status(self._line(time.monotonic()))

    def _line(self, now: float) -> str:
        return f"{self.stage}: {self.done:,}/{self.total:,} {self.unit}, {self._rate_text(now)}"

    def _rate_text(self, now: float) -> str:
        rate = (self.done - self._start_done) / max(now - self._start, 1e-9)
        text = f"{rate:.3g} {self.unit}/s"
        if rate > 0 and self.done < self.total:
            text += f", ETA {format_duration((self.total - self.done) / rate)}"
        if self.skipped:
            text += f", {self.skipped:,} skipped"
        return text


def format_duration(seconds: float) -> str:
    """A time span as people write it: `42s`, `3m 05s`, `2h 07m`, `4d 03h`."""
    whole = round(seconds)
    minutes, secs = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02d}h"
    if hours:
        return f"{hours}h {minutes:02d}m"
    if minutes:
        return f"{minutes}m {secs:02d}s"
    return f"{secs}s"
