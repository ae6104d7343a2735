"""A zip of square pictures, as StyleGAN's tools write it."""

import io
import zipfile
from pathlib import Path
from typing import Any

from celebahq.errors import FormatError, ToolError
from celebahq.pictures.decoding import SUFFIXES
from celebahq.sources.image_set import Example, ImageSet, ImportOptions
from celebahq.sources.importable import SOURCES
from celebahq.sources.labels import LABELS_FILE, parse_labels
from celebahq.sources.listing import listing_sha256
from celebahq.sources.squares import decode_as, kind_of_first

MAX_MEMBER_BYTES = 1 << 30


class ZipOfImages(ImageSet):
    """Pictures in a zip, ordered by name, and `dataset.json`."""

    source = SOURCES["zip"]

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self._path = path
        with self._open() as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
            self._names = sorted(
                (name for name in names if name.lower().endswith(SUFFIXES)), key=lambda name: name.encode()
            )
            if not self._names:
                raise ToolError(path, f"no pictures in it; looked for {', '.join(SUFFIXES)}")
            self._kind = kind_of_first(self._names, lambda name: _read_member(archive, name), str(path))
            where = f"{path}: {LABELS_FILE}"
            labels = _read_member(archive, LABELS_FILE) if LABELS_FILE in names else b'{"labels": null}'
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
        self._archive = self._open()

    def read(self, index: int) -> Example:
        """One picture."""
        name = self._names[index]
        image = decode_as(self._kind, io.BytesIO(_read_member(self._archive, name)), name)
        return Example(image, None if self._labels is None else self._labels[index])

    def image_name(self, index: int) -> str:
        """Path in the zip."""
        return self._names[index]

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._path)
        except zipfile.BadZipFile as err:
            raise FormatError(self._path, f"not a zip, or cut short ({err})") from err


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > MAX_MEMBER_BYTES:
        raise ToolError(name, f"{info.file_size:,} bytes, but at most {MAX_MEMBER_BYTES:,} are unpacked")
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as err:
        raise FormatError(name, f"cannot be unpacked: {err}") from err
