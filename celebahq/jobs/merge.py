"""The last stage of a job: the finished images, as they are in the logs, into a data set."""

from pathlib import Path
from typing import Any

from celebahq.errors import ToolError
from celebahq.files import write_text
from celebahq.jobs.engine import Engine, InProcess
from celebahq.jobs.job import Job
from celebahq.jobs.parts import write_parts
from celebahq.jobs.progress import Progress, Stage, silent
from celebahq.jobs.report import JobReport
from celebahq.jobs.scratch import MERGING, REPLACING
from celebahq.jobs.wanted import Wanted


def write_pyramid(
    job: Job,
    out: Path,
    *,
    resolution: int,
    channels: int = 3,
    provenance: dict[str, Any] | None = None,
    engine: Engine | None = None,
    progress: Progress = silent,
) -> JobReport:
    """Write what a job has finished into a data set, in the items' order; gives what was done.

    It is one pyramid file; or, with a size of files among the job's options, a folder of several and a
    manifest. One that is there was written by an earlier run of the same job, which could not report on it.

    Args:
        provenance: Facts for the data set; nothing that differs between equal jobs.
        engine: Who writes several files; this process unless told.

    Raises:
        ToolError: No item was finished: the job's records are removed then.
        FormatError: A log was damaged.
    """
    report = job.report()
    if not len(report.kept):
        job.forget()
        reasons = "; ".join(sorted(set(report.skipped.values()))[:3])
        raise ToolError(out, f"not written, for none of {report.total:,} items was finished: {reasons}")
    if out.exists() and not job.scratch.replaces(out):
        return report
    wanted = Wanted.of(report, resolution, channels, job.options.codec, provenance or {})
    if job.options.shard_size is None:
        _write_file(job, out, wanted, progress)
    else:
        write_parts(job, out, wanted, job.options.shard_size, engine or InProcess(), progress)
    return report


def _write_file(job: Job, out: Path, wanted: Wanted, progress: Progress) -> None:
    write_text(job.scratch.folder / MERGING, "")
    total = int(wanted.items.sum())
    progress(Stage("write", 0, total))
    with wanted.writer(out, overwrite=job.scratch.replaces(out)) as writer:
        for record in job.records():
            if wanted.add(writer, record):
                progress(Stage("write", len(writer), total))
    (job.scratch.folder / REPLACING).unlink(missing_ok=True)
