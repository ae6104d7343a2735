"""The page of a job at work: how far it is, and the best and the worst faces so far; it reloads itself."""

import time
from collections.abc import Sequence
from math import log2
from pathlib import Path

from celebahq.files import read_json, write_text
from celebahq.jobs.logs import Look
from celebahq.jobs.parameters import PARAMETERS
from celebahq.jobs.scratch import work_folder
from celebahq.pyramid import decode_level
from celebahq.report import job_of, report_paths
from celebahq.report_page import TILE_PX, Tile, environment, shown
from celebahq.status import JobStatus, job_status, look_at

RELOAD_SEC = 10
LATE_SEC = 600
"""Without news, after which the page says that the command may have ended."""
TILES = 16


def write_status_page(out: Path) -> None:
    """Draw the page of the job that makes `out`, where its report will be; remove it when there is no job.

    A report that is there stays.
    """
    page = report_paths(out)[1]
    if work_folder(out).is_dir():
        write_text(page, render_status_page(out))
    elif job_of(page) == out.name:
        page.unlink()


def render_status_page(out: Path) -> str:
    """The page, as HTML."""
    job, looks = job_status(out), look_at(out)
    sections = {title: [shown(tile) for tile in tiles] for title, tiles in _sections(out, looks).items()}
    bars = [{"text": job.line(i), "percent": _percent(job, i)} for i in range(len(job.stages))]
    template = environment().get_template("status.html")
    return template.render(
        job=job,
        bars=bars,
        reasons={reason: f"{count:,}" for reason, count in job.skip_reasons},
        sections=sections,
        reload_sec=RELOAD_SEC if job.state == "running" else 0,
        late_sec=LATE_SEC,
        written=f"{time.time():.0f}",
    )


def _percent(job: JobStatus, number: int) -> str:
    stage = job.stages[number]
    return f"{100 * stage.done / max(stage.total or 1, 1):.1f}"


def _sections(out: Path, looks: Sequence[Look]) -> dict[str, list[Tile]]:
    """Titles and pictures: the best and the worst of what has a score, else the newest images."""
    images = [look for look in looks if look.sizes]
    scored = sorted(
        (look for look in images if look.entry.score is not None), key=lambda look: -(look.entry.score or 0.0)
    )
    if not scored:
        newest = sorted(images, key=lambda look: (look.path.stat().st_mtime, look.start))[-TILES:]
        return {"The newest images": _tiles(out, newest[::-1])}
    best, worst = scored[:TILES], scored[TILES:][-TILES:]
    return {
        "The best faces so far": _tiles(out, best),
        "The worst faces so far, the worst first": _tiles(out, worst[::-1]),
    }


def _tiles(out: Path, looks: Sequence[Look]) -> list[Tile]:
    if not looks:
        return []
    job = read_json(work_folder(out) / PARAMETERS)
    return [_tile(look, job["channels"], job["resolution"], job["codec"]) for look in looks]


def _tile(look: Look, channels: int, resolution: int, codec: str) -> Tile:
    """A finished image, no larger than it is shown."""
    side = min(resolution, TILE_PX)
    score = look.entry.score
    caption = f"item {look.entry.item:,}" if score is None else f"score {score:.3f}"
    name = str(look.meta.get("source_name", ""))
    blob = look.blob(round(log2(resolution / side)))
    try:
        picture = None if blob is None else decode_level(blob, channels, side, codec)
    except ValueError:  # the log was replaced meanwhile
        picture = None
    if picture is not None:
        picture = picture.transpose(1, 2, 0).repeat(3 // channels, axis=2)
    return Tile(picture, name, caption)
