"""The list of a data set's files, where there are several: names, counts, digests, one provenance."""

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from celebahq.errors import FormatError, ToolError
from celebahq.files import read_json, sha256_file, write_json
from celebahq.formats.pyramid_file import PyramidFile

MANIFEST = "manifest.json"
"""Its name in the data set's folder."""
MANIFEST_FORMAT, MANIFEST_VERSION = "celebahq-pyramid-parts", 1


@dataclass(frozen=True)
class Part:
    """One of the files, as it was when the manifest was written."""

    file: str
    """Its name, beside the manifest."""
    images: int
    bytes: int
    crc32: str
    """Of its structure, and thereby of all that is in it: its root's attribute, 8 hexadecimal digits."""
    sha256: str
    """Of its bytes."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """The entry of a finished file."""
        file = PyramidFile(path)
        crc32 = f"{file.facts['crc32'] or 0:08x}"
        return cls(path.name, len(file), file.identity.size, crc32, sha256_file(path))


@dataclass(frozen=True)
class Manifest:
    """The files of a data set in the order of their images."""

    path: Path
    provenance: dict[str, Any]
    parts: tuple[Part, ...]

    @property
    def starts(self) -> np.ndarray:
        """`[parts + 1]` int64: the first image of each file, and the number of all."""
        return np.cumsum([0, *(part.images for part in self.parts)])

    def where(self, part: Part) -> Path:
        """Where a file lies."""
        return self.path.with_name(part.file)


def find_manifest(path: Path) -> Path | None:
    """The manifest that a path means: itself or the one in a folder; None for any other path."""
    if path.is_dir():
        return path / MANIFEST
    return path if path.suffix.lower() == ".json" else None


def is_data_set(path: Path) -> bool:
    """Whether a path promises a data set of this format, by its ending or by a manifest in the folder."""
    if not path.is_dir():
        return path.suffix.lower() in (".h5", ".hdf5", ".json")
    manifest = path / MANIFEST
    try:
        return manifest.is_file() and read_json(manifest).get("format") == MANIFEST_FORMAT
    except ToolError:  # somebody else's file of that name
        return False


def write_manifest(manifest: Manifest) -> None:
    """Write it, atomically; equal data sets have equal manifests."""
    write_json(
        manifest.path,
        {
            "format": MANIFEST_FORMAT,
            "format_version": MANIFEST_VERSION,
            "images": int(manifest.starts[-1]),
            "provenance": manifest.provenance,
            "parts": [asdict(part) for part in manifest.parts],
        },
    )


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, and see that its files are there.

    Raises:
        ToolError: There is no such file, or one that it names is missing.
        FormatError: It is no manifest, or is damaged, or one of the files has another size.
    """
    found = read_json(path)
    if found.get("format") != MANIFEST_FORMAT:
        raise FormatError(path, f"not the manifest of a data set, whose format is {MANIFEST_FORMAT!r}")
    version = found.get("format_version")
    if version != MANIFEST_VERSION:
        raise FormatError(
            path, f"format version {version!r}, and this tool reads version {MANIFEST_VERSION}: update it"
        )
    parts, provenance = found.get("parts"), found.get("provenance")
    if not isinstance(parts, list) or not parts or not isinstance(provenance, dict):
        raise FormatError(path, "damaged: it lists no files, or has no provenance")
    manifest = Manifest(path, provenance, tuple(_part(each, path) for each in parts))
    names = {part.file for part in manifest.parts}
    if len(names) != len(manifest.parts) or found.get("images") != manifest.starts[-1]:
        raise FormatError(path, "damaged: a file is listed twice, or the numbers of images do not add up")
    for part in manifest.parts:
        _require_there(manifest, part)
    return manifest


def _part(found: Any, path: Path) -> Part:
    names = {field.name: str if field.type is str else int for field in fields(Part)}
    if not isinstance(found, dict) or found.keys() != names.keys():
        raise FormatError(path, f"damaged: {str(found)[:100]!r} is no entry of a file")
    part = Part(**found)
    good = all(type(value) is names[name] for name, value in found.items())
    if not good or not re.fullmatch(r"[^/\\\0]*[^/\\\0.]", part.file) or not 0 < part.images < 1 << 40:
        raise FormatError(path, f"damaged: {str(found)[:100]!r} is no entry of a file")
    return part


def _require_there(manifest: Manifest, part: Part) -> None:
    place = manifest.where(part)
    if not place.is_file():
        raise ToolError(place, f"no such file, but {manifest.path.name} lists it")
    if place.stat().st_size != part.bytes:
        raise FormatError(
            place, f"{place.stat().st_size:,} bytes, but {manifest.path.name} says {part.bytes:,}"
        )
