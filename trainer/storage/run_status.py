"""How far a run is, read from its folder and its lock: of a run at work, interrupted, or finished."""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import Any

from celebahq.console import format_duration
from celebahq.errors import ToolError
from celebahq.files import read_jsonl
from celebahq.jobs.locks import is_held
from trainer.configuration.settings import load_config
from trainer.storage.checkpoint import snapshots
from trainer.storage.runs import CONFIG, LOCK

STATS = "stats.jsonl"
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands."""

    name: str
    """The run folder's."""
    state: str
    """`finished`; `running` while a process holds the run's lock; else `begun` before the first tick and
    `stopped` after it."""
    kimg: float
    total_kimg: float
    resolution: int
    """Side of the images that are trained now, in pixels."""
    lod: float
    images_per_sec: float
    """In the last tick."""
    left_sec: float
    """Of training, as estimated at the last tick."""
    since_sec: float
    """Since the last tick, or since the run was begun."""
    losses: dict[str, float]
    newest_grid: str | None
    """File name in the run folder."""
    newest_snapshot: str | None
    disk_bytes: int
    """Of the whole run folder."""

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return asdict(self)

    def lines(self, *, lasting: bool = False) -> list[str]:
        """For people; `lasting` where they stay as they are: a moment instead of a time that has passed."""
        percent = 100 * self.kimg / self.total_kimg
        done = f"{_kimg(self.kimg)} of {_kimg(self.total_kimg)} kimg, {percent:.1f} %"
        rest = f", {format_duration(self.left_sec)} left" if self.state == "running" and self.kimg else ""
        moment = datetime.fromtimestamp(time.time() - self.since_sec, UTC)
        when = f"{moment:%Y-%m-%d %H:%M} UTC" if lasting else f"{format_duration(self.since_sec)} ago"
        return [
            f"{self.name}: {self.state}, {done}{rest}",
            f"{self.resolution}x{self.resolution} (lod {self.lod:.2f}), {self.images_per_sec:.1f} images/s",
            f"{'last tick' if self.kimg else 'begun'} {when}"
            + "".join(f", {name} {value:.3f}" for name, value in self.losses.items()),
            f"newest snapshot: {self.newest_snapshot or 'none'}; {self.disk_bytes / 1e9:.2f} GB on disk",
        ]


def run_status(folder: Path) -> RunStatus:
    """Read where the run in `folder` stands.

    Raises:
        ToolError: Not a run folder.
    """
    if not (folder / CONFIG).is_file():
        raise ToolError(folder, f"not a run folder, it has no {CONFIG}")
    config = load_config(folder / CONFIG)
    stats = folder / STATS
    records = read_jsonl(stats, each_has="nimg") if stats.is_file() else []
    last = records[-1] if records else {}
    total_kimg = config.train.total_kimg
    since_sec = max(time.time() - (stats if records else folder / CONFIG).stat().st_mtime, 0.0)
    return RunStatus(
        name=folder.resolve().name,
        state=_state(last, total_kimg, held=is_held(folder / LOCK)),
        kimg=last.get("kimg", 0.0),
        total_kimg=total_kimg,
        resolution=last.get("resolution", config.schedule.initial_resolution),
        lod=last.get("lod", 0.0),
        images_per_sec=last.get("images_per_sec", 0.0),
        left_sec=last.get("left_sec", 0.0),
        since_sec=since_sec,
        losses={name: last[name] for name in ("loss_D", "loss_G") if name in last},
        newest_grid=max((path.name for path in folder.glob("fakes*.png")), default=None),
        newest_snapshot=max((path.name for path in snapshots(folder)), default=None),
        disk_bytes=sum(map(_file_bytes, folder.rglob("*"))),
    )


def _state(last: dict[str, Any], total_kimg: float, *, held: bool) -> str:
    if last and last["kimg"] >= total_kimg:
        return "finished"
    if held:
        return "running"
    return "stopped" if last else "begun"


def _file_bytes(path: Path) -> int:
    """Size of a file; 0 of what is none, or was removed meanwhile."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    return found.st_size if S_ISREG(found.st_mode) else 0


def _kimg(value: float) -> str:
    """With a decimal, or with all that it has below 10."""
    return f"{value:,.1f}" if value >= 10 and value % 1 else f"{value:,g}"
