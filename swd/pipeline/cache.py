"""The reals' side of a comparison in one file, so that many sets of fakes can be compared with it.

A safetensors file: per level the normalised descriptors, `level{r}` `[M, C * 49]` float32; which images are
the same, `members` and `clusters`; the reals' own part, `own{r}` and `own{r}_directions`; a checksum of each
of these, `checksums`; and as metadata, with a checksum of their own, the protocol and the reals' distances to
themselves. It is mapped, not read.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from celebahq.errors import FormatError, ToolError
from swd.method.measured import Estimate, Measured, Sample
from swd.method.protocol import Protocol
from swd.pipeline.distance import Distance
from swd.pipeline.reference import Own, Reference

FORMAT_NAME = "swd-reals"
FORMAT_VERSION = 3
SUFFIX = ".safetensors"

_CHECKSUMS = "checksums"  # of the tensors
_CHECKSUM = "crc32"  # of the metadata
_TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}


class CachedLevels:
    """Descriptors in a cache file."""

    def __init__(self, path: Path, protocol: Protocol, device: torch.device) -> None:
        self._path, self._protocol, self._device = path, protocol, device

    def load(self, level: int) -> Tensor:
        """See `Levels`; on the CPU the file's own pages.

        Raises:
            FormatError: The file's bytes have changed.
        """
        return _load(self._path, level_key(self._protocol.resolutions[level])).to(self._device)


def level_key(resolution: int) -> str:
    """Name of a level's tensor."""
    return f"level{resolution}"


def is_cache(path: Path) -> bool:
    """Whether a path names a cache."""
    return path.suffix == SUFFIX


def cache_bytes(protocol: Protocol, levels: int | None = None) -> int:
    """Size of a cache's descriptors, on all levels or so many."""
    levels = len(protocol.resolutions) if levels is None else levels
    return levels * protocol.images * protocol.patches * protocol.descriptor_size * 4


def save_cache(path: Path, reference: Reference) -> None:
    """Write a cache, one level in memory at a time; of several processes, all call this, with a path each."""
    shapes = _shapes(reference)
    header = {"__metadata__": _metadata(reference, list(shapes))} | _entries(shapes)
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    checksums = []
    # safetensors' own writer wants all levels in memory at once.
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for tensor in _tensors(reference):
            data = tensor.cpu().contiguous().numpy().data
            file.write(data)
            checksums.append(zlib.crc32(data))
        file.write(np.array(checksums, np.int64).data)


def _metadata(reference: Reference, names: list[str]) -> dict[str, str]:
    facts = {
        "names": names,
        "protocol": asdict(reference.protocol),
        "fresh_patches": asdict(reference.fresh_patches),
        "disjoint": asdict(reference.disjoint) if reference.disjoint else None,
        "disjoint_corrected": asdict(reference.disjoint_corrected) if reference.disjoint_corrected else None,
        "own": {
            "share": reference.own.share,
            "values": [level.value for level in reference.own.levels],
            "several": [level.several for level in reference.own.levels],
        }
        if reference.own
        else None,
    }
    metadata = {
        "format": FORMAT_NAME,
        "format_version": str(FORMAT_VERSION),
        "name": reference.name,
    } | {name: json.dumps(fact) for name, fact in facts.items()}
    return metadata | {_CHECKSUM: _metadata_crc32(metadata)}


def _metadata_crc32(metadata: dict[str, str]) -> str:
    """Checksum of all metadata but itself, in hex."""
    covered = {name: text for name, text in metadata.items() if name != _CHECKSUM}
    return f"{zlib.crc32(json.dumps(covered, sort_keys=True).encode()):08x}"


def _tensors(reference: Reference) -> Iterator[Tensor]:
    """In the file's order, one at a time."""
    for level in range(len(reference.protocol.resolutions)):
        yield reference.levels.load(level)
    yield reference.sample.members
    yield reference.sample.clusters
    for measured in reference.own.levels if reference.own else ():
        yield measured.images[reference.sample.population]
        yield measured.directions


def _shapes(reference: Reference) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Of the tensors, by name, and of their checksums."""
    protocol, sample = reference.protocol, reference.sample
    rows = (protocol.images * protocol.patches, protocol.descriptor_size)
    shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        level_key(resolution): (torch.float32, rows) for resolution in protocol.resolutions
    }
    shapes["members"] = torch.int64, tuple(sample.members.shape)
    shapes["clusters"] = torch.int64, tuple(sample.clusters.shape)
    for resolution, level in zip(
        protocol.resolutions, reference.own.levels if reference.own else (), strict=False
    ):
        shapes[f"own{resolution}"] = torch.float64, tuple(level.images[sample.population].shape)
        shapes[f"own{resolution}_directions"] = torch.float64, tuple(level.directions.shape)
    shapes[_CHECKSUMS] = torch.int64, (len(shapes),)
    return shapes


def _entries(shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]]) -> dict[str, Any]:
    """What a safetensors header says of tensors that follow each other."""
    entries, end = {}, 0
    for name, (dtype, shape) in shapes.items():
        begin, end = end, end + int(np.prod(shape)) * dtype.itemsize
        entries[name] = {"dtype": _TYPES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    return entries


def load_cache(path: Path, device: torch.device) -> Reference:
    """Open a cache.

    Raises:
        ToolError: There is no such file.
        FormatError: It is damaged, no such cache, or of another version of this tool.
    """
    if not path.is_file():
        raise ToolError(path, "no such file")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as err:
        raise FormatError(path, f"not a readable safetensors file, or damaged ({err})") from err
    if metadata.get("format") != FORMAT_NAME:
        raise FormatError(path, "not made by `swd cache`")
    try:
        version = int(metadata["format_version"])
        if version > FORMAT_VERSION:
            raise FormatError(path, "written by a later version of this tool: update it")
        if version < FORMAT_VERSION:
            raise FormatError(
                path, "written by an earlier version of this tool: make it anew with `swd cache`"
            )
        if metadata[_CHECKSUM] != _metadata_crc32(metadata):
            raise FormatError(path, "its metadata have changed since it was written; make it anew")
        return _reference(path, metadata, shapes, device)
    except (KeyError, TypeError, ValueError, AttributeError, SafetensorError) as err:
        raise FormatError(path, "its metadata are damaged; make it anew with `swd cache`") from err


def _reference(
    path: Path, metadata: dict[str, str], shapes: dict[str, tuple[int, ...]], device: torch.device
) -> Reference:
    protocol = Protocol(**json.loads(metadata["protocol"]))
    sample = Sample("reals", _load(path, "members"), _load(path, "clusters"))
    levels: list[Measured] = []
    own = json.loads(metadata["own"])
    for resolution, value, several in zip(
        protocol.resolutions, own["values"] if own else (), own["several"] if own else (), strict=bool(own)
    ):
        images = {sample.population: _load(path, f"own{resolution}")}
        levels.append(Measured(value, _load(path, f"own{resolution}_directions"), images, several))
    reference = Reference(
        metadata["name"],
        protocol,
        CachedLevels(path, protocol, device),
        sample,
        Own(own["share"], levels) if own else None,
        _distance(json.loads(metadata["fresh_patches"])),
        _distance_or_none(metadata["disjoint"]),
        _distance_or_none(metadata["disjoint_corrected"]),
    )
    expected = {name: shape for name, (_, shape) in _shapes(reference).items()}
    if shapes != expected or json.loads(metadata["names"]) != list(expected):
        raise FormatError(path, "its levels are not those of its protocol")
    return reference


def _load(path: Path, name: str) -> Tensor:
    """A tensor, held against its checksum."""
    with safe_open(path, "pt") as file:
        tensor: Tensor = file.get_tensor(name)
        expected = int(file.get_tensor(_CHECKSUMS)[json.loads(file.metadata()["names"]).index(name)])
    if zlib.crc32(tensor.numpy().data) != expected:
        raise FormatError(path, f"the bytes of {name} have changed since it was written; make it anew")
    return tensor


def _distance_or_none(text: str) -> Distance | None:
    fields = json.loads(text)
    return _distance(fields) if fields else None


def _distance(fields: dict[str, Any]) -> Distance:
    return Distance(
        fields["images"],
        {int(resolution): Estimate(**estimate) for resolution, estimate in fields["levels"].items()},
        Estimate(**fields["average"]),
    )
