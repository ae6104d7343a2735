"""TFRecord sets of the TensorFlow version of progressive GAN training."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError, ToolError
from celebahq.files import sha256_file
from celebahq.readers.npy import map_npy
from celebahq.readers.tfrecords import read_image, scan_records
from celebahq.sources.catalogue import SOURCES
from celebahq.sources.data_set import DataSet, Example, ImportOptions, require_colours

MAX_LEVEL = 14
"""16384x16384."""


class TFRecords(DataSet):
    """The file of the highest resolution; the other levels are computed anew."""

    source = SOURCES["tfrecord"]

    def __init__(self, path: Path, options: ImportOptions) -> None:
        matches = [re.fullmatch(r"(.*)-r(\d\d)\.tfrecords", file.name) for file in sorted(path.iterdir())]
        levels = {int(match[2]): match for match in matches if match}
        if not levels:
            raise ToolError(path, f"no file NAME-rNN.tfrecords in it; expected {self.source.expects}")
        largest = max(levels)
        self._file = path / levels[largest][0]
        if largest > MAX_LEVEL:
            raise ToolError(self._file, f"the name says {largest} levels, and at most {MAX_LEVEL} are read")
        self.resolution = 1 << largest
        self._places = scan_records(self._file)
        if not self._places:
            raise ToolError(self._file, "no images")
        self.channels = require_colours(len(read_image(self._file, self._places[0])), str(self._file))
        self._labels_file = path / f"{levels[largest][1]}-rxx.labels"
        self._labels = self._read_labels() if self._labels_file.is_file() else None

    def __len__(self) -> int:
        return len(self._places)

    def facts(self) -> dict[str, Any]:
        """Size and count of the records, and the labels' checksum."""
        labels = None if self._labels is None else sha256_file(self._labels_file)
        return {"bytes": self._file.stat().st_size, "images": len(self), "labels_sha256": labels}

    def read(self, index: int) -> Example:
        """One image."""
        image = read_image(self._file, self._places[index])
        expected = (self.channels, self.resolution, self.resolution)
        if image.shape != expected:
            raise ToolError(self.image_name(index), f"{image.shape}, expected {expected}")
        return Example(image, None if self._labels is None else self._labels[index])

    def image_name(self, index: int) -> str:
        """Its number."""
        return f"{self._file.name}/{index}"

    def _read_labels(self) -> NDArray[np.float32]:
        path = self._labels_file
        labels = map_npy(path)
        if labels.ndim != 2 or len(labels) != len(self) or labels.dtype.kind not in "biuf":
            raise FormatError(path, f"{labels.shape} {labels.dtype}, expected [{len(self)}, L] numbers")
        return np.array(labels, np.float32)
