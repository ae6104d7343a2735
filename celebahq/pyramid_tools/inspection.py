"""What a data set holds, without reading an image."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from celebahq.console import in_words
from celebahq.errors import one_line
from celebahq.pyramid import FORMAT_NAME, DatasetFacts, Part, PyramidReader, codec_name, level_name


@dataclass(frozen=True)
class LevelFacts:
    """One level as it is stored."""

    resolution: int
    codec: str
    images_per_chunk: int | None
    """None: the level is not cut into chunks."""
    stored_bytes: int
    raw_bytes: int
    crc32: str | None
    """Of the stored chunks, 8 hex digits; None in files of the original's layout, and of several files."""


@dataclass(frozen=True)
class PyramidFacts:
    """A pyramid file, or several with a manifest; JSON-able with `dataclasses.asdict`."""

    path: str
    format: str
    """`celebahq-pyramid 2`, or `original layout`."""
    images: int
    resolution: int
    channels: int
    file_bytes: int
    labels: int
    """Columns of the labels, 0 without any."""
    meta: dict[str, str]
    """Name of each per-image fact -> its type, `float64 5x2`."""
    provenance: dict[str, Any]
    levels: list[LevelFacts]
    parts: list[Part]
    """The files that the manifest lists; none for a single file."""


def describe_pyramid(path: Path) -> PyramidFacts:
    """Collect what a data set says about itself.

    Raises:
        FormatError: It is not a pyramid, or is damaged.
    """
    reader = PyramidReader(path)
    columns, manifest = reader.files[0].facts["columns"], reader.files.manifest
    labels = reader.files[0].labels
    return PyramidFacts(
        path=str(path),
        format=f"{FORMAT_NAME} {reader.format_version}" if reader.format_version else "original layout",
        images=len(reader),
        resolution=reader.resolution,
        channels=reader.channels,
        file_bytes=sum(file.identity.size for file in reader.files),
        labels=0 if labels is None else labels.shape[1],
        meta={name: _type_name(columns[f"meta/{name}"]) for name in reader.meta_names},
        provenance=reader.provenance,
        levels=[_describe_level(reader, r) for r in reader.levels],
        parts=list(manifest.parts) if manifest else [],
    )


def render_facts(facts: PyramidFacts) -> str:
    """The same as lines for people."""
    colours = {1: "grey", 3: "RGB"}.get(facts.channels, f"{facts.channels} channels")
    lines = [
        f"{facts.path}: {facts.format}, {facts.file_bytes / 2**20:,.1f} MiB",
        f"  {facts.images:,} images {facts.resolution}x{facts.resolution} {colours}, "
        + (f"{facts.labels} label columns" if facts.labels else "no labels"),
        "",
        "  level   codec   images/chunk      MiB  of raw  CRC-32",
    ]
    for level in facts.levels:
        chunk = "-" if level.images_per_chunk is None else str(level.images_per_chunk)
        share = level.stored_bytes / max(1, level.raw_bytes)
        lines.append(
            f"  {level.resolution:5d}   {level.codec:10s} {chunk:>9s} {level.stored_bytes / 2**20:8,.1f} "
            f"{share:7.0%}  {level.crc32 or '-'}"
        )
    if facts.parts:
        lines += ["", "  file                images          MiB  CRC-32"]
        lines += [
            f"  {part.file:16s} {part.images:9,d} {part.bytes / 2**20:12,.1f}  {part.crc32}"
            for part in facts.parts
        ]
    for title, values in (("per image", facts.meta), ("provenance", facts.provenance)):
        if values:
            lines += ["", f"  {title}", *(f"    {name}: {in_words(value)}" for name, value in values.items())]
    return "\n".join(map(one_line, lines))  # names in a file may hold anything


def _describe_level(reader: PyramidReader, resolution: int) -> LevelFacts:
    levels = [file.facts["levels"][level_name(resolution)] for file in reader.files]
    return LevelFacts(
        resolution=resolution,
        codec=codec_name(levels[0]["filters"]),
        images_per_chunk=levels[0]["chunks"][0] if levels[0]["chunks"] else None,
        stored_bytes=sum(level["stored_bytes"] for level in levels),
        raw_bytes=sum(prod(level["shape"]) for level in levels),
        crc32=_hexadecimal(levels[0]["crc32"]) if len(levels) == 1 else None,
    )


def _hexadecimal(checksum: int | None) -> str | None:
    return None if checksum is None else f"{checksum:08x}"


def _type_name(column: DatasetFacts) -> str:
    size = "x".join(map(str, column["shape"][1:]))
    return f"{column['dtype']} {size}".rstrip()
