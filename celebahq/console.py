"""What every command shares: the click group, status on stderr, progress, JSON on stdout."""

import json
import re
import sys
import time
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from celebahq.errors import ToolError, WrongUse, describe_error, is_out_of_memory, one_line

if TYPE_CHECKING:
    import torch

EXIT_SKIPPED = 3
EXIT_INTERRUPTED = 130

MEASURED_SEC = 1.0  # what took less says nothing of a rate: there was nothing to do, or one step of it
PLAIN_INTERVAL_SEC = 10.0
VOLUME = "celebahq.volume"
"""In a click context's `meta`: how much is said, -1 with `-q`, 1 with `-v`."""


class ToolGroup(click.Group):
    """Reports expected failures as one line on stderr, exit status 1; its commands know `-v` and `-q`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for command in self.commands.values():
            _add_volume(command)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, with `-v` and `-q`."""
        super().add_command(_add_volume(cmd), name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, then explain what failed."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click ends quietly
        except click.MissingParameter as err:
            raise click.UsageError(f"{err.format_message()}{_example(err.ctx)}", err.ctx) from err
        except KeyboardInterrupt:
            warn("interrupted; nothing is half-written, and the same command goes on or begins again")
            sys.exit(EXIT_INTERRUPTED)
        except (MemoryError, RuntimeError) as err:
            if not is_out_of_memory(err):
                raise
            raise click.ClickException("out of memory; ask for less at a time, or of fewer workers") from err
        except WrongUse as err:
            raise click.UsageError(str(err)) from err
        except (ToolError, OSError) as err:
            if ctx.meta.get(VOLUME, 0) > 0:
                traceback.print_exc()
            raise click.ClickException(one_line(describe_error(err))) from err


def _add_volume(command: click.Command) -> click.Command:
    """Give a command `-v` and `-q`, of which it need not know."""

    def note(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[VOLUME] = 1 if param.name == "verbose" else -1

    for names, text in (
        (["-v", "--verbose"], "Say more: what is skipped when it is, and where an error comes from."),
        (["-q", "--quiet"], "Say nothing but warnings, errors and the result."),
    ):
        command.params.append(
            click.Option(names, is_flag=True, expose_value=False, is_eager=True, callback=note, help=text)
        )
    return command


def _example(ctx: click.Context | None) -> str:
    """The first example of a command's help, for those who left something out."""
    found = re.search(r"Examples?:\n +(.+)", (ctx.command.help if ctx else None) or "")
    return f" For example: {found[1]}" if found else ""


def volume() -> int:
    """How much the command that runs is to say: -1 little, 0, or 1 more."""
    ctx = click.get_current_context(silent=True)
    return 0 if ctx is None else int(ctx.meta.get(VOLUME, 0))


def status(message: str) -> None:
    """Say something to the person who waits: one line on stderr, none with `-q`."""
    if volume() >= 0:
        warn(message)


def warn(message: str) -> None:
    """Say something that matters also to those who want to hear little."""
    click.echo(one_line(message), err=True)


def counted(count: int, noun: str) -> str:
    """A number of things, in words: `1 photo`, `1,234 photos`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


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
        if sys.stderr.isatty() and volume() >= 0:
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
        rate = self._rate_text(now)
        return f"{self.stage}: {self.done:,}/{self.total:,} {self.unit}" + (f", {rate}" if rate else "")

    def _rate_text(self, now: float) -> str:
        count, elapsed_sec = self.done - self._start_done, now - self._start
        texts = []
        if count > 0 and elapsed_sec >= MEASURED_SEC:
            texts.append(f"{count / elapsed_sec:.3g} {self.unit}/s")
            if self.done < self.total:
                texts.append(f"ETA {format_duration((self.total - self.done) * elapsed_sec / count)}")
        if self.skipped:
            texts.append(f"{self.skipped:,} skipped")
        return ", ".join(texts)


def in_words(value: Any) -> str:
    """A JSON value as people write it: `name jpeg, sha256 4f2e`, `1, 2, 3`, `yes`, `none`."""
    if value is None or value in ((), [], {}, ""):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {in_words(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value))
    return str(value)


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
