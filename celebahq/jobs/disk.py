"""Is there room for a long job's result and scratch?"""

import logging
import shutil
from pathlib import Path

from celebahq.errors import ToolError
from celebahq.jobs.options import JobOptions
from celebahq.jobs.scratch import work_folder

log = logging.getLogger(__name__)

COMPRESSED_PART = 0.8  # of the bytes of the pixels; enlarged and soft pictures need half of it


def require_space(out: Path, images: int, keep: int | None, resolution: int, options: JobOptions) -> None:
    """State about how much space a job's images need, and refuse to begin without it.

    Args:
        out: The file to be; its scratch lies beside it.
        images: Number of items.
        keep: How many of them enter the file, all if None.

    Raises:
        ToolError: The disk has less.
    """
    kept = min(keep or images, images)
    file_bytes = kept * 4 * resolution**2 * (1.0 if options.codec == "none" else COMPRESSED_PART)
    # Until the ranking is known, the scratch holds images that will not be kept: as many again at most.
    scratch_bytes = file_bytes * (2 if kept < images else 1)
    logs = [*work_folder(out).glob("shard-*"), *work_folder(out).glob("parts/*")]
    present = sum(log.stat().st_size for log in logs)
    # Several files take the place of the logs that they are written from, but for those in work.
    beside = file_bytes if options.shard_size is None else min(file_bytes, options.shard_size * 1e9)
    needed = max(scratch_bytes - present, 0) + beside
    free = shutil.disk_usage(next(folder for folder in out.absolute().parents if folder.is_dir())).free
    log.info(
        "%s: about %s for %s images, and until it is complete %s of scratch in %s; %s are free",
        out,
        format_bytes(file_bytes),
        f"{kept:,}",
        format_bytes(scratch_bytes),
        work_folder(out).name,
        format_bytes(free),
    )
    if needed > free:
        raise ToolError(
            out.parent,
            f"{format_bytes(needed)} are needed, {format_bytes(free)} are free; make room, "
            "choose another disk for the output, or fewer images or a lower resolution",
        )


def format_bytes(count: float) -> str:
    """A size as people write it: `1.5 MB`, `120 GB`."""
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.3g} {unit}"
    return f"{count / 1000:.3g} TB"
