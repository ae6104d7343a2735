"""The files of a data set, one or many: opened when they are first asked for, not all at once."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from celebahq.errors import FormatError
from celebahq.formats.manifest import Manifest, find_manifest, read_manifest
from celebahq.formats.pyramid_file import Identity, PyramidFile

MAX_OPEN = 128
"""Descriptors that are held at once; a process may have 1,024 as a rule."""


class Parts(Sequence[PyramidFile]):
    """The files of a data set in the order of their images."""

    def __init__(self, path: Path) -> None:
        """Open the first.

        Args:
            path: A pyramid file, a manifest, or the folder it is in.
        """
        self._files: dict[int, PyramidFile] = {}
        self._open: OrderedDict[int, None] = OrderedDict()  # the one that was used last at the end
        self.manifest: Manifest | None = None
        """Which files there are; None for a single one."""
        where = find_manifest(path)
        if where is None:
            self._files[0] = PyramidFile(path)
            self.starts = np.array([0, len(self._files[0])])
            """`[files + 1]` int64: the first image of each, and the number of all."""
            self.provenance = self._files[0].provenance
            self.identity = self._files[0].identity
        else:
            self.identity = Identity.of(where.stat()) if where.exists() else Identity(0, 0)
            self.manifest = read_manifest(where)
            self.starts = self.manifest.starts
            self.provenance = self.manifest.provenance

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, number: int) -> PyramidFile: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[PyramidFile]: ...
    def __getitem__(self, number: int | slice) -> PyramidFile | Sequence[PyramidFile]:
        """Raises `FormatError` for a file that is not the one that the manifest lists."""
        if isinstance(number, slice):
            return [self[each] for each in range(len(self))[number]]
        number = range(len(self))[number]
        if number not in self._files:
            self._files[number] = self._opened(number)
        self._open[number] = None
        self._open.move_to_end(number)
        if len(self._open) > MAX_OPEN:
            self._files[self._open.popitem(last=False)[0]].close()
        return self._files[number]

    def close(self) -> None:
        """Close all; they are opened again when they are asked for."""
        for file in self._files.values():
            file.close()
        self._open.clear()

    def _opened(self, number: int) -> PyramidFile:
        assert self.manifest is not None
        part = self.manifest.parts[number]
        file = PyramidFile(self.manifest.where(part))
        listed = self.manifest.path.name
        if len(file) != part.images or f"{file.facts['crc32'] or 0:08x}" != part.crc32:
            raise FormatError(file.path, f"not the file that {listed} lists: its checksum differs")
        if number and _kind(file) != _kind(self[0]):
            raise FormatError(file.path, f"images or facts of another kind than in {self[0].path.name}")
        return file


def _kind(file: PyramidFile) -> tuple[object, ...]:
    """What all files of a data set have in common."""
    columns = {name: (facts["shape"][1:], facts["dtype"]) for name, facts in file.facts["columns"].items()}
    return file.format_version, file.levels, file.channels, sorted(columns.items())
