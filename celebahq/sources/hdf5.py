"""An HDF5 pyramid: the original's layout, or a file of this toolkit."""

from pathlib import Path
from typing import Any

from celebahq.errors import FormatError
from celebahq.sources.catalogue import SOURCES
from celebahq.sources.data_set import DataSet, Example, ImportOptions, require_colours
from celebahq.sources.listing import listing_sha256


class Hdf5Pyramid(DataSet):
    """The largest level with labels and facts; the other levels are computed anew."""

    source = SOURCES["hdf5"]

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self._path = path
        self.load()
        self.resolution = self._reader.resolution
        self.channels = require_colours(self._reader.channels, str(path))
        self.label_names = self._reader.label_names

    def __len__(self) -> int:
        return len(self._reader)

    def facts(self) -> dict[str, Any]:
        """The largest level's checksum where it is one file that has one, else the files' own; its size, and
        the origin's provenance.
        """
        from dataclasses import asdict

        from celebahq.pyramid_tools.inspection import describe_pyramid

        described = describe_pyramid(self._path)
        facts: dict[str, Any] = {"level": asdict(described.levels[0]), "provenance": described.provenance}
        if described.parts:
            facts["parts_sha256"] = listing_sha256(part.sha256 for part in described.parts)
        return facts

    def load(self) -> None:
        """Open the file; labels and facts are read at once."""
        from celebahq.pyramid import PyramidReader

        self._reader = PyramidReader(self._path, threads=1)
        self._labels = self._reader.labels
        self._meta = {name: self._reader.meta(name) for name in self._reader.meta_names}
        for name, values in self._meta.items():
            if values.dtype.hasobject and any("\0" in value for value in values):
                raise FormatError(self._path, f"meta/{name}: text with a NUL, which cannot be written again")

    def read(self, index: int) -> Example:
        """One image."""
        label = None if self._labels is None else self._labels[index]
        meta = {name: values[index] for name, values in self._meta.items()}
        return Example(self._reader.read([index])[0], label, meta)

    def image_name(self, index: int) -> str:
        """The name that the file gives it, else its number."""
        names = self._meta.get("source_name")
        return f"{self._path.name}/{index}" if names is None else str(names[index])
