"""What a long job leaves behind as it goes on: a status file in its scratch, and a page drawn anew."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from celebahq.errors import ToolError, describe_error
from celebahq.files import read_json, write_json
from celebahq.jobs.progress import Progress, Stage
from celebahq.jobs.scratch import work_folder

log = logging.getLogger(__name__)

STATUS = "status.json"
WRITE_SEC = 0.02
"""About, per image of 1024 pixels."""
SAVE_SEC = 2.0
DRAW_SEC = 10.0
DRAW_SHARE = 0.02
"""Of the time, that drawing the page may take."""


@dataclass(frozen=True)
class StageStatus:
    """A stage of a job, before it or as far as it is; JSON-able with `dataclasses.asdict`."""

    name: str
    unit: str
    """What its items are called."""
    item_sec: float
    """Per item, of all workers together: about, until `measured`."""
    total: int | None = None
    """None where the stage before decides it."""
    done: int = 0
    skipped: int = 0
    measured: bool = False

    def left_sec(self, expected: int) -> float:
        """About how long it still takes, of `expected` items where its number is not known."""
        return max((expected if self.total is None else self.total) - self.done, 0) * self.item_sec


def write_stage(resolution: int) -> StageStatus:
    """The last stage of every job: images of this size into the file."""
    return StageStatus("write", "images", WRITE_SEC * (resolution / 1024) ** 2)


class Watch:
    """A job's progress, passed on, and kept on disk every two seconds; the page every ten or less often."""

    def __init__(
        self, out: Path, stages: Sequence[StageStatus], show: Progress, draw: Callable[[Path], None]
    ) -> None:
        """Watch the job that makes `out`.

        Args:
            out: The file to be.
            stages: In their order.
            show: Who wants to know too.
            draw: Draws the page of the job that makes a file.
        """
        self._out, self._show, self._draw_page = out, show, draw
        self._stages = list(stages)
        self._current: int | None = None
        self._began = self._first_done = 0.0
        self._save_at = self._draw_at = 0.0

    @property
    def began(self) -> bool:
        """Whether the job has said anything yet."""
        return self._current is not None

    def __call__(self, stage: Stage) -> None:
        """Take note; see `celebahq.jobs.progress`."""
        self._show(stage)
        now = time.monotonic()
        number = next(i for i, each in enumerate(self._stages) if each.name == stage.name)
        is_new = number != self._current
        if is_new:
            self._current, self._began, self._first_done = number, now, stage.done
        known = replace(self._stages[number], done=stage.done, total=stage.total, skipped=stage.skipped)
        if stage.done > self._first_done:
            item_sec = (now - self._began) / (stage.done - self._first_done)
            known = replace(known, item_sec=item_sec, measured=True)
        self._stages[number] = known
        if is_new or stage.done == stage.total or now >= self._save_at:
            self.save()
        if is_new or now >= self._draw_at:
            self.draw()

    def save(self) -> None:
        """Write the status file."""
        stages = [asdict(stage) for stage in self._stages]
        status = {"stage": self._current, "stages": stages, "updated": time.time()}
        with _not_essential():
            write_json(work_folder(self._out) / STATUS, status)
        self._save_at = time.monotonic() + SAVE_SEC

    def draw(self) -> None:
        """Draw the page; the next time when enough time has passed."""
        start = time.monotonic()
        with _not_essential():
            self._draw_page(self._out)
        now = time.monotonic()
        self._draw_at = now + max(DRAW_SEC, (now - start) / DRAW_SHARE)


@contextmanager
def watching(
    out: Path, stages: Sequence[StageStatus], show: Progress, draw: Callable[[Path], None]
) -> Iterator[Progress]:
    """Watch a job, whose scratch is opened inside; arguments as for `Watch`.

    In the end the page is drawn once more: it says then that the job has ended, and how.
    """
    watch = Watch(out, stages, show, draw)
    try:
        yield watch
    finally:
        if watch.began:
            watch.draw()


@contextmanager
def _not_essential() -> Iterator[None]:
    """A job goes on without its page: what it needs of the disk itself, it says itself."""
    try:
        yield
    except (ToolError, OSError) as err:
        log.warning("how far it is cannot be written down: %s", describe_error(err))


def read_stages(out: Path) -> tuple[int, list[StageStatus], float]:
    """Which stage the job that makes `out` is at, all its stages, and when that was written.

    Raises:
        ToolError: There is no status file, or it is damaged.
    """
    found: dict[str, Any] = read_json(work_folder(out) / STATUS)
    return found["stage"], [StageStatus(**stage) for stage in found["stages"]], found["updated"]
