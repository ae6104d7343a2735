"""Which of a job's records enter the data set, and how they are written there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from celebahq.jobs.report import JobReport
from celebahq.jobs.shards import Record, label_row
from celebahq.pyramid import PyramidWriter


@dataclass(frozen=True, eq=False)
class Wanted:
    """Columns over the items of a job, and what all files of its data set have in common; picklable."""

    items: NDArray[np.bool_]
    """`[total]`: whether an item enters the data set."""
    ranks: NDArray[np.int32]
    """`[total]`: places by quality; -1 without a score."""
    resolution: int
    channels: int
    codec: str
    provenance: dict[str, Any]

    @classmethod
    def of(
        cls, report: JobReport, resolution: int, channels: int, codec: str, provenance: dict[str, Any]
    ) -> Self:
        """What a job came to."""
        items = np.zeros(report.total, bool)
        items[report.kept] = True
        return cls(items, report.ranks, resolution, channels, codec, provenance)

    def writer(self, path: Path, *, overwrite: bool = False) -> PyramidWriter:
        """A file for some of the images."""
        return PyramidWriter(
            path,
            self.resolution,
            self.channels,
            codec=self.codec,
            provenance=self.provenance,
            overwrite=overwrite,
        )

    def add(self, writer: PyramidWriter, record: Record) -> bool:
        """Append a record's image, if it is wanted; says whether it is."""
        item = record.entry.item
        if not self.items[item]:
            return False
        meta = record.meta
        if self.ranks[item] >= 0:
            meta |= {"quality_score": record.entry.score, "quality_rank": int(self.ranks[item])}
        label = None if record.label is None else label_row(record.label)
        writer.append_encoded(record.blobs, label=label, meta=meta)
        return True
