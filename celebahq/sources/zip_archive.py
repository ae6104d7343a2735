"""A zip of square pictures, as StyleGAN's tools write it."""

import io
from pathlib import Path
from typing import Any

from celebahq.errors import ToolError
from celebahq.pictures.decoding import SUFFIXES
from celebahq.readers.zips import open_zip, read_member
from celebahq.sources.catalogue import SOURCES
from celebahq.sources.data_set import DataSet, Example, ImportOptions
from celebahq.sources.labels import LABELS_FILE, parse_labels
from celebahq.sources.listing import listing_sha256
from celebahq.sources.squares import decode_as, kind_of_first


class ZipOfImages(DataSet):
    """Pictures in a zip, ordered by name, and `dataset.json`."""

    source = SOURCES["zip"]

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self._path = path
        with open_zip(self._path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
            self._names = sorted(
                (name for name in names if name.lower().endswith(SUFFIXES)), key=lambda name: name.encode()
            )
            if not self._names:
                raise ToolError(path, f"no pictures in it; looked for {', '.join(SUFFIXES)}")
            self._kind = kind_of_first(self._names, lambda name: read_member(archive, name), str(path))
            where = f"{path}: {LABELS_FILE}"
            labels = read_member(archive, LABELS_FILE) if LABELS_FILE in names else b'{"labels": null}'
            self._labels = parse_labels(labels, self._names, where)
            self._listing = listing_sha256(
                f"{info.filename} {info.file_size} {info.CRC:08x}" for info in archive.infolist()
            )
        self.resolution, self.channels = self._kind

    def __len__(self) -> int:
        return len(self._names)

    def facts(self) -> dict[str, Any]:
        """The zip's list of contents, which has a checksum of each."""
        return {"contents_sha256": self._listing}

    def load(self) -> None:
        """Open the zip."""
        self._archive = open_zip(self._path)

    def read(self, index: int) -> Example:
        """One picture."""
        name = self._names[index]
        image = decode_as(self._kind, io.BytesIO(read_member(self._archive, name)), name)
        return Example(image, None if self._labels is None else self._labels[index])

    def image_name(self, index: int) -> str:
        """Path in the zip."""
        return self._names[index]
