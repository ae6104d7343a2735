"""Damage files of every format in many ways, read them, and count what happens.

    python tools/fuzz.py                          # 2,000 cases of all formats, always the same ones
    python tools/fuzz.py --cases 100000 --seed 7  # hours
    python tools/fuzz.py --formats pyramid,zip --keep found

Small files of each format are made by code, damaged, and given to the reader that the commands use. Right is:
the file is refused with one line, or what is read is what was written; a format without checksums may give
other values too. Everything else is a fault, and the status is then 1: a traceback, a crash, more time or
memory than is allowed, and other values in silence from a format that has checksums.
"""

import faulthandler
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import click
import numpy as np
from fuzz_formats import FORMATS, Format

from celebahq.errors import ToolError
from celebahq.readers.isolation import _end_helper

GOOD = ("refused", "same", "other values")
FAULTS = ("silently other", "traceback", "crash", "hang", "memory")
BATCH = 100  # cases of one child process, unless it dies before
SECONDS = 180  # for one case; more than the helper process has, on a busy machine, too
MEMORY_BYTES = 2 << 30  # of a child's own, above what it has at its start

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 62)
WORDS = (
    b"[" * 3000,
    b"9" * 5000,
    b"nan",
    b"1e999",
    b"-1",
    b"\0",
    b'"',
    b"{",
    b"../",
    b"\xff\xfe",
    b"\x1b[31m",
)


@click.command()
@click.option("--cases", default=2000, show_default=True, type=click.IntRange(min=1), help="Of all formats.")
@click.option("--seed", default=0, show_default=True)
@click.option("--formats", default="all", show_default=True, help=f"Any of {', '.join(FORMATS)}.")
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep files that show a fault.")
def main(cases: int, seed: int, formats: str, keep: Path | None) -> None:
    """Print a table of outcomes; status 1 if there is a fault among them."""
    names = list(FORMATS) if formats == "all" else formats.split(",")
    click.echo(f"{'format':14s}{'cases':>8s}" + "".join(f"{name:>16s}" for name in GOOD + FAULTS))
    total: Counter[str] = Counter()
    start = time.monotonic()
    for position, name in enumerate(names):
        share = cases * (position + 1) // len(names) - cases * position // len(names)
        counts = fuzz(FORMATS[name], share, seed, keep)
        total += counts
        click.echo(row(name, counts))
    click.echo(row("all", total))
    click.echo(f"seed {seed}, {time.monotonic() - start:.0f} s", err=True)
    sys.exit(any(total[name] for name in FAULTS))


def row(name: str, counts: "Counter[str]") -> str:
    """One line of the table."""
    return f"{name:14s}{counts.total():8,d}" + "".join(f"{counts[key]:16,d}" for key in GOOD + FAULTS)


class Template:
    """A whole file with what belongs beside it, to be written again and again."""

    def __init__(self, form: Format) -> None:
        self.form = form
        with tempfile.TemporaryDirectory() as folder:
            path = form.write(Path(folder))
            self.expected = form.read(path)
            self._target = path.relative_to(folder)
            self._files = {
                file.relative_to(folder): file.read_bytes()
                for file in Path(folder).rglob("*")
                if file.is_file() and file != path
            }
            self._data = path.read_bytes()

    def write(self, folder: Path, data: bytes) -> Path:
        """Everything, with other data for the file itself."""
        for name, content in {**self._files, self._target: data}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        for empty in self.form.folders:
            (folder / empty).mkdir()
        return folder / self._target

    def damaged(self, number: int, seed: int) -> tuple[bytes, bool]:
        """The file of one case, and whether its checksums still hold."""
        rng = np.random.default_rng([seed, number, *self.form.name.encode()])
        if self.form.inside is not None and rng.random() < 0.6:
            unpack, pack = self.form.inside
            return pack(mutate(unpack(self._data), rng)), True
        return mutate(self._data, rng), False


def fuzz(form: Format, cases: int, seed: int, keep: Path | None) -> "Counter[str]":
    """Outcomes of one format, each batch of cases in a child process."""
    counts: Counter[str] = Counter()
    template = Template(form)
    _end_helper()  # each child has its own
    with tempfile.TemporaryDirectory() as folder:
        first = 0
        while first < cases:
            last = min(first + BATCH, cases)
            for number, outcome, reason in run_batch(template, range(first, last), seed, Path(folder)):
                counts[outcome] += 1
                first = number + 1
                if outcome in FAULTS:
                    click.echo(f"{form.name} case {number}: {outcome}: {reason}", err=True)
                    if keep is not None:
                        keep.mkdir(parents=True, exist_ok=True)
                        (keep / f"{form.name}-{seed}-{number}").write_bytes(template.damaged(number, seed)[0])
    return counts


def run_batch(template: Template, numbers: range, seed: int, folder: Path) -> list[tuple[int, str, str]]:
    """Outcomes of some cases; fewer than asked for when the child died, the last of them being why."""
    ours, theirs = Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            work(template, numbers, seed, folder, theirs)
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    outcomes: list[tuple[int, str, str]] = []
    hung = False
    with suppress(EOFError):
        while len(outcomes) < len(numbers):
            if not ours.poll(SECONDS):
                hung = True
                os.kill(pid, signal.SIGKILL)
                break
            outcomes.append(ours.recv())
    ours.close()
    _, status = os.waitpid(pid, 0)
    if len(outcomes) < len(numbers):
        cause = "hang" if hung else "crash"
        outcomes.append((numbers[len(outcomes)], cause, f"status {os.waitstatus_to_exitcode(status)}"))
    return outcomes


def work(template: Template, numbers: range, seed: int, folder: Path, results: Connection) -> None:
    """In a child: read damaged files one after the other, and say what came of each."""
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    own = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()  # data and stack
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (own + MEMORY_BYTES, hard))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for number in numbers:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            data, repaired = template.damaged(number, seed)
            path = template.write(Path(place), data)
            results.send((number, *outcome(template, path, checked=template.form.checked and not repaired)))
    _end_helper()


def outcome(template: Template, path: Path, *, checked: bool) -> tuple[str, str]:
    """What comes of reading one file, and why where that is a fault."""
    try:
        found = template.form.read(path)
    except ToolError:
        return "refused", ""
    except MemoryError:
        return "memory", traceback.format_exc()
    except Exception:  # whatever it is, that it came out is the finding
        return "traceback", traceback.format_exc()
    if found == template.expected:
        return "same", ""
    return ("silently other" if checked else "other values"), "other values than were written"


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes in one or a few of many ways."""
    result = bytearray(data)
    for _ in range(int(rng.geometric(0.6))):
        place = int(rng.integers(len(result) + 1))
        if rng.random() < 0.5:
            place = min(place, int(rng.exponential(200)))  # heads are at the start
        end = min(len(result), place + int(rng.exponential(16)) + 1)
        match int(rng.integers(9)):
            case 0 if place < len(result):
                result[place] ^= 1 << int(rng.integers(8))
            case 1 if place < len(result):
                result[place] = int(rng.integers(256))
            case 2:
                result[place:end] = rng.bytes(end - place)
            case 3:
                del result[place:]
            case 4:
                del result[place:end]
            case 5:
                result[place:place] = result[place:end]
            case 6:
                size = int(rng.choice([1, 2, 4, 8]))
                value = INTERESTING[int(rng.integers(len(INTERESTING)))] % (1 << 8 * size)
                order = "little" if rng.random() < 0.6 else "big"
                result[place : place + size] = value.to_bytes(size, order)  # type: ignore[arg-type]
            case 7:
                result[place:place] = WORDS[int(rng.integers(len(WORDS)))]
            case 8:
                other = int(rng.integers(len(result) + 1))
                result[place:end] = result[other : other + end - place]
    return bytes(result)


if __name__ == "__main__":
    main()
