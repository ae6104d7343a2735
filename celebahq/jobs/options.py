"""How a long job is to be done; what is in its file does not depend on it, but for the codec."""

from dataclasses import dataclass


@dataclass(frozen=True)
class JobOptions:
    """What `build`, `import` and `reconstruct` have in common; the defaults are the commands'."""

    codec: str = "gzip"
    """One of `celebahq.pyramid.CODECS`."""
    workers: int | None = None
    """Processes; as many as there are processors unless told."""
    cluster: str | None = None
    """Address of a dask scheduler, whose workers are used instead."""
    mixed_hardware: bool = False
    """Accept that networks compute differently on the machines that share the work, or continue it."""
    max_skip_rate: float | None = None
    """Share of the items that may fail before the job stops. Unless told, any share may be bad files, and a
    twentieth may meet trouble that might pass: of disks, networks, memory, devices."""
    retry_skipped: bool = False
    """Try again what an earlier run of the same job left out."""
    item_timeout: float | None = 3600.0
    """Seconds that one item may take; None for any."""
    shard_size: float | None = None
    """GB (1e9 bytes) of images to a file: the data set is a folder of files and a manifest then, written by
    all workers. One file unless told."""
