"""The last stage of a job: the finished images, as they are in the logs, into one file."""

from pathlib import Path
from typing import Any

import numpy as np

from celebahq.errors import ToolError
from celebahq.files import write_text
from celebahq.jobs.job import Job
from celebahq.jobs.progress import Progress, Stage, silent
from celebahq.jobs.report import JobReport
from celebahq.jobs.scratch import MERGING, REPLACING
from celebahq.pyramid import PyramidWriter


def write_pyramid(
    job: Job,
    out: Path,
    *,
    resolution: int,
    channels: int = 3,
    provenance: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> JobReport:
    """Write what a job has finished into a pyramid file, in the items' order; gives what was done.

    A file that is there was written by an earlier run of the same job, which could not report on it.

    Args:
        provenance: Facts for the file; nothing that differs between equal jobs.

    Raises:
        ToolError: No item was finished: the job's records are removed then.
        FormatError: A log was damaged.
    """
    report = job.report()
    if not report.kept:
        job.forget()
        reasons = "; ".join(sorted(set(report.skipped.values()))[:3])
        raise ToolError(out, f"not written, for none of {report.total:,} items was finished: {reasons}")
    replacing = job.scratch.replaces(out)
    if out.exists() and not replacing:
        return report
    write_text(job.scratch.folder / MERGING, "")
    kept = set(report.kept)
    quality_rank = {item: rank for rank, item in enumerate(report.ranking)}
    codec = job.options.codec
    with PyramidWriter(
        out, resolution, channels, codec=codec, provenance=provenance, overwrite=replacing
    ) as writer:
        progress(Stage("write", 0, len(kept)))
        for record in job.records():
            item = record.entry.item
            if item not in kept:
                continue
            meta = record.meta
            if quality_rank:
                meta |= {"quality_score": record.entry.score, "quality_rank": quality_rank[item]}
            label = None if record.label is None else np.asarray(record.label, dtype=np.float32)
            writer.append_encoded(record.blobs, label=label, meta=meta)
            progress(Stage("write", len(writer), len(kept)))
    (job.scratch.folder / REPLACING).unlink(missing_ok=True)
    return report
