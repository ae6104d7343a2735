"""How far a job (`build`, `import`, `reconstruct`) is, read from what lies on disk."""

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from celebahq.console import format_duration
from celebahq.errors import ToolError
from celebahq.files import read_json
from celebahq.jobs.disk import format_bytes
from celebahq.jobs.locks import is_held
from celebahq.jobs.logs import Look, look_into
from celebahq.jobs.scratch import work_folder
from celebahq.jobs.watch import STATUS, StageStatus, read_stages
from celebahq.pyramid import PyramidReader
from celebahq.report import report_paths

SHOWN_REASONS = 5


@dataclass(frozen=True)
class JobStatus:
    """Where a job stands."""

    file: str
    """The one to be, its name."""
    state: str
    """`running`, `interrupted` or `finished`."""
    stage: int
    """Which of the stages it is at; their number when it is finished."""
    stages: Sequence[StageStatus]
    skip_reasons: Sequence[tuple[str, int]]
    """Why items were left out (so far), the most frequent first."""
    counts: dict[str, int]
    """What a finished job did, as its report has it."""
    since_sec: float
    """Since the last news."""
    scratch_bytes: int
    file_bytes: int
    free_bytes: int
    """On the file's disk."""
    page: str | None
    """Path of the page that shows it."""

    @property
    def left_sec(self) -> float | None:
        """About how long the whole still takes, where it goes on; None where nothing is known."""
        if self.state == "finished" or not self.stages:
            return None
        expected, left = 0, 0.0
        for stage in self.stages[self.stage :]:
            left += stage.left_sec(expected)
            expected = expected if stage.total is None else stage.total - stage.skipped
        return left

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        reasons = [{"reason": reason, "count": count} for reason, count in self.skip_reasons]
        return {**asdict(self), "skip_reasons": reasons, "left_sec": self.left_sec}

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{self.file}: {self.heading()}"]
        if self.state != "finished":
            lines += [f"  {number + 1}. {self.line(number)}" for number in range(len(self.stages))]
            lines += [*self.left_out(), f"{self.disk()}; last news {format_duration(self.since_sec)} ago"]
        else:
            lines += [f"{count:>9,} {what.replace('_', ' ')}" for what, count in self.counts.items()]
            lines += [*self.left_out(), self.disk()]
        if self.state == "interrupted":
            lines.append("the same command goes on with it")
        return lines

    def left_out(self) -> list[str]:
        """How many items were, and why, the most frequent reasons first; nothing for none."""
        skipped = sum(count for _, count in self.skip_reasons)
        if not skipped:
            return []
        shown = self.skip_reasons[:SHOWN_REASONS]
        return [
            f"{skipped:,} left out{'' if self.state == 'finished' else ' so far'}:",
            *(f"{count:>9,} {reason}" for reason, count in shown),
        ]

    def heading(self) -> str:
        """The state, and how long the whole still takes."""
        left = self.left_sec
        if left is None:
            return self.state
        when = "left for the whole" if self.state == "running" else "left for the whole when it goes on"
        return f"{self.state}, about {format_duration(left)} {when}"

    def disk(self) -> str:
        """What is taken, and what is free."""
        taken = f"{format_bytes(self.scratch_bytes)} of scratch"
        if self.state == "finished":
            taken = format_bytes(self.file_bytes)
        return f"{taken}, {format_bytes(self.free_bytes)} free"

    def line(self, number: int) -> str:
        """How far a stage is."""
        stage = self.stages[number]
        name = f"{stage.name}: "
        if number > self.stage or stage.total is None:
            return name + "to come"
        share = f"{100 * stage.done / max(stage.total, 1):.1f} %"
        rate = f", {1 / max(stage.item_sec, 1e-9):.3g} {stage.unit}/s" if stage.measured else ""
        return f"{name}{stage.done:,} of {stage.total:,} {stage.unit}, {share}{rate}"


def job_status(out: Path) -> JobStatus:
    """Read where the job that makes `out` stands.

    Raises:
        ToolError: There is neither the file nor a job's scratch, or what is there is no data set.
    """
    folder, page = work_folder(out), report_paths(out)[1]
    if not folder.is_dir() and not out.exists():
        raise ToolError(out, f"there is neither it nor {folder.name}: no job has begun to make it")
    stage, updated = 0, time.time()
    stages: list[StageStatus] = []
    if (folder / STATUS).exists():
        stage, stages, updated = read_stages(out)
    state, counts, reasons = "interrupted", dict[str, int](), _reasons(look_at(out))
    if is_held(folder / "lock"):
        state = "running"
    elif not folder.is_dir():
        state, stage = "finished", len(stages)
        with PyramidReader(out, threads=1) as reader:
            counts, reasons = _reported(out, len(reader))
    return JobStatus(
        file=out.name,
        state=state,
        stage=stage,
        stages=stages,
        skip_reasons=reasons,
        counts=counts,
        since_sec=max(time.time() - updated, 0.0),
        scratch_bytes=sum(map(_size, _files(folder))),
        file_bytes=sum(map(_size, _files(out))) if out.is_dir() else _size(out),
        free_bytes=shutil.disk_usage(out.absolute().parent).free,
        page=str(page) if page.exists() and (counts or state != "finished") else None,
    )


def look_at(out: Path) -> list[Look]:
    """What the logs in a job's scratch say of each item; of all its stages."""
    folder = work_folder(out)
    return [look for path in _files(folder) if _is_log(path, folder) for look in look_into(path)]


def _is_log(path: Path, folder: Path) -> bool:
    own = path.parent in (folder, folder / "index")  # not those that were set aside
    return own and path.name.startswith("shard-") and path.suffix in (".log", ".part")


def _files(folder: Path) -> list[Path]:
    """Those below a folder that are there still: a job may remove some meanwhile."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _reasons(looks: Sequence[Look]) -> list[tuple[str, int]]:
    reasons = Counter[str]()
    for look in looks:
        if look.entry.reason is not None:
            reasons[look.entry.reason] += 1
        elif look.meta.get("faces") == []:
            reasons["no face found"] += 1
    return reasons.most_common()


def _reported(out: Path, images: int) -> tuple[dict[str, int], list[tuple[str, int]]]:
    """Counts and skip reasons of the report on a file; nothing where there is none on these images."""
    path = report_paths(out)[0]
    reconstructed = out.with_name(out.name + ".report.json")
    if path.exists():
        report = read_json(path)
        counts, skips = report.get("counts", {}), report.get("skip_reasons", [])
    elif reconstructed.exists():
        report = read_json(reconstructed)
        skips = [{"reason": each["reason"], "count": 1} for each in report["failed"]]
        counts = {"skipped_for_an_error": len(skips), "written": report["written"]}
    else:
        counts, skips = {}, []
    if counts.get("kept", counts.get("written")) != images:
        return {}, []
    reasons = Counter[str]()
    for each in skips:
        reasons[each["reason"]] += each["count"]
    return counts, reasons.most_common()
