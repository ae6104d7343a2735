"""Let memory run out at every point of every reader, on whole files: `python tools/starve.py --points 200`.

A reader's calls into C are counted; then it reads again and again, and each time another call fails with
`MemoryError` instead of being made, as where the allocation in it fails. Right is: memory is named as the
cause, or what is read is what was written, for the call was of no account. Everything else is a fault, and
the status is then 1: a file that is called damaged, other values, a traceback. The readers that work in the
helper process are run in this one.
"""

import json
import os
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
from fuzz_formats import FORMATS, Format

from celebahq.errors import FormatError, ToolError
from celebahq.readers import isolation

LETTING_GO = ("__exit__", "release")
"""Calls that take no memory: of locks, whose holders would wait for ever."""
GOOD = ("out of memory", "same")
FAULTS = ("blames the file", "other values", "traceback")


@click.command()
@click.option("--points", default=100, show_default=True, type=click.IntRange(min=1), help="Of each format.")
@click.option("--seed", default=0, show_default=True)
@click.option("--formats", default="all", show_default=True, help=f"Any of {', '.join(FORMATS)}.")
def main(points: int, seed: int, formats: str) -> None:
    """Print a table of outcomes; status 1 if there is a fault among them."""
    names = list(FORMATS) if formats == "all" else formats.split(",")
    click.echo(f"{'format':14s}{'calls':>8s}" + "".join(f"{name:>17s}" for name in GOOD + FAULTS))
    total: Counter[str] = Counter()
    for name in names:
        calls, counts = starve(FORMATS[name], points, random.Random(f"{seed} {name}"))
        total += counts
        click.echo(row(name, calls, counts))
    click.echo(row("all", 0, total))
    sys.exit(any(total[name] for name in FAULTS))


def row(name: str, calls: int, counts: "Counter[str]") -> str:
    """One line of the table."""
    return f"{name:14s}{calls:8,d}" + "".join(f"{counts[key]:17,d}" for key in GOOD + FAULTS)


def starve(form: Format, points: int, rng: random.Random) -> tuple[int, "Counter[str]"]:
    """Calls that a format's reader makes, and what comes of it when one of them finds no memory."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, helper_within():
        path = form.write(Path(folder))
        form.read(path)  # imports, and what is made at the first call only
        with failing_at(None) as count:
            expected = form.read(path)
        calls = count[0]
        for point in sorted(rng.sample(range(calls), min(points, calls))):
            outcome, reason = read_starved(form, path, point, expected)
            counts[outcome] += 1
            if outcome in FAULTS:
                click.echo(f"{form.name}, call {point}: {outcome}: {reason}", err=True)
    return calls, counts


def read_starved(form: Format, path: Path, point: int, expected: str) -> tuple[str, str]:
    """What comes of reading a file while one call fails, and why where that is a fault."""
    try:
        with failing_at(point):
            found = form.read(path)
    except MemoryError:
        return "out of memory", ""
    except ToolError as err:
        return ("out of memory", "") if "memory" in str(err) else ("blames the file", str(err))
    except Exception:  # whatever it is, that it came out is the finding
        return "traceback", traceback.format_exc()
    return ("same", "") if found == expected else ("other values", "than were written")


@contextmanager
def failing_at(point: int | None) -> Iterator[list[int]]:
    """Count this thread's calls into C, and let one of them fail; gives the count."""
    count = [0]

    def on_event(frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call" or called is sys.setprofile or called.__name__ in LETTING_GO:
            return
        count[0] += 1
        if count[0] - 1 == point:
            raise MemoryError  # the interpreter drops the call, and this function

    sys.setprofile(on_event)
    try:
        yield count
    finally:
        sys.setprofile(None)


@contextmanager
def helper_within() -> Iterator[None]:
    """Do in this process what the helper process does."""
    ask = isolation._ask
    isolation._ask, isolation._tray = _answered_here, isolation._Tray(isolation._tray_file())
    try:
        yield
    finally:
        isolation._ask, isolation._tray = ask, None


def _answered_here(request: list[Any], file: int | None) -> Any:
    tray = isolation._tray
    assert tray is not None
    files = [] if file is None else [os.dup(file)]
    answer = json.loads(json.dumps(isolation._answer(request[:4], files)))
    for each in files:
        os.close(each)
    if "value" in answer:
        return isolation._unpacked(answer["value"], memoryview(tray._map or b""))
    if "fault" in answer:
        raise RuntimeError(answer["fault"])
    raise (FormatError if answer["is_format_error"] else ToolError)(answer["subject"], answer["reason"])


if __name__ == "__main__":
    main()
