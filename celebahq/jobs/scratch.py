"""The scratch folder of a job, `OUT.work`: one run at a time, removed when the job is done."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from celebahq.errors import ToolError
from celebahq.files import make_folder, refuse_existing, sync_directory, write_text
from celebahq.jobs.locks import owning

MERGING = "merging"
"""A file that is there from before the result appears until the job is removed."""
REPLACING = "replacing"
"""A file that is there while the result of an earlier job is completed, until the new one has replaced it."""
LONGEST_ENDING = ".build-report.json.partial"
"""Of the names that are made beside an output."""


@dataclass(frozen=True)
class Scratch:
    """A folder that this run alone writes in."""

    folder: Path
    lock: Path
    token: str
    """Of this run; workers compare it with what is in the lock."""

    def stage(self, name: str) -> "Scratch":
        """A sub-folder for a part of the job, under the same lock."""
        make_folder(self.folder / name)
        return replace(self, folder=self.folder / name)

    @contextmanager
    def dropping(self, name: str) -> Iterator[None]:
        """Remove a part of the job where the rest refuses what it is to do: nothing goes on from it."""
        try:
            yield
        except ToolError:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            raise

    def replaces(self, out: Path) -> bool:
        """Whether `out` is the result of an earlier job, to be completed."""
        return out.exists() and (self.folder / REPLACING).exists()


@contextmanager
def scratch_for(out: Path, *, completing: bool = False) -> Iterator[Scratch]:
    """The scratch of the job that makes `out`. Removed at the end, and after an error if nothing is in it.

    Args:
        completing: Whether a file that is there is to be completed.

    Raises:
        ToolError: `out` exists, has a name that cannot be used, or another run is at it.
    """
    require_new_output(out, completing=completing)
    with owning_folder(work_folder(out)) as scratch:
        try:
            require_new_output(out, completing=completing)  # it may have been finished while this run waited
            if completing and out.exists() and not (scratch.folder / MERGING).exists():
                write_text(scratch.folder / REPLACING, "")
            yield scratch
        except BaseException:
            if not any(log.stat().st_size for log in scratch.folder.glob("**/shard-*")):
                _remove(scratch.folder)
            raise
        _remove(scratch.folder)


@contextmanager
def owning_folder(folder: Path) -> Iterator[Scratch]:
    """Hold a folder for this run."""
    lock = folder / "lock"
    with owning(lock) as token:
        yield Scratch(folder, lock, token)


def work_folder(out: Path) -> Path:
    """Where the job that makes `out` keeps its scratch: `OUT.work`."""
    return out.with_name(out.name + ".work")


def require_new_output(out: Path, *, completing: bool = False) -> None:
    """Refuse a name that cannot be used, and to replace a file.

    A file that this job made, and could not report on, is welcome. What a run left behind that was killed
    while it removed its scratch is removed.

    Raises:
        ToolError: The file exists, or its name is too long or is not text.
    """
    _require_good_name(out)
    shutil.rmtree(_trash(work_folder(out)), ignore_errors=True)
    if not completing and not any((work_folder(out) / name).exists() for name in (MERGING, REPLACING)):
        refuse_existing(out)


def _require_good_name(out: Path) -> None:
    try:
        longest = len((out.name + LONGEST_ENDING).encode())
    except UnicodeEncodeError as err:
        raise ToolError(out, "its name is not UTF-8; choose another for the output") from err
    folder = next(folder for folder in out.absolute().parents if folder.is_dir())
    limit = os.pathconf(folder, "PC_NAME_MAX")
    if longest > limit:
        raise ToolError(
            out,
            f"its name is {longest - limit} bytes too long, for {LONGEST_ENDING} is added for a while",
        )


def _trash(folder: Path) -> Path:
    return folder.with_name(folder.name + ".trash")


def _remove(folder: Path) -> None:
    """At once: half a folder would look like a job to continue."""
    trash = _trash(folder)
    shutil.rmtree(trash, ignore_errors=True)
    os.replace(folder, trash)
    sync_directory(folder.parent)
    shutil.rmtree(trash)
