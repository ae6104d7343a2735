"""How many workers this machine has memory for."""

import logging
import os
from pathlib import Path

from celebahq.jobs.disk import format_bytes
from celebahq.threads import processors

log = logging.getLogger(__name__)

BARE_WORKER_BYTES = 350_000_000  # measured: Python, NumPy, OpenCV and a small picture
NETWORKS_BYTES = 300_000_000  # measured: both networks at work on a crop, tile by tile
BYTES_PER_PIXEL = 16  # measured 14 for a JPEG that is decoded, padded and turned; layers of others take more
USUAL_PHOTO_PIXELS = 24_000_000  # of today's cameras


def photo_worker_bytes(*, networks: bool) -> int:
    """What a worker takes at its peak, on a photo as large as cameras make them."""
    return BARE_WORKER_BYTES + networks * NETWORKS_BYTES + BYTES_PER_PIXEL * USUAL_PHOTO_PIXELS


def affordable_workers(worker_bytes: int, per_processor: int = 1) -> int:
    """As many as there are processors and memory for, at least one."""
    wanted = per_processor * processors()
    affordable = max(1, int(available_memory() / worker_bytes))
    if affordable < wanted:
        log.info(
            "memory for %d processes of %s: fewer than %d, which would keep all processors busy",
            *(affordable, format_bytes(worker_bytes), wanted),
        )
    return min(wanted, affordable)


def available_memory(root: Path = Path("/")) -> float:
    """Bytes that may be allocated before the machine swaps, or the container is stopped."""
    limits = [_free_of_all(root), _free_of_container(root / "sys/fs/cgroup")]
    return min(limit for limit in limits if limit is not None)


def _free_of_all(root: Path) -> float:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))) * 1024
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2


def _free_of_container(cgroup: Path) -> float | None:
    try:
        return float((cgroup / "memory.max").read_text()) - float((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or no limit: "max"
        return None
