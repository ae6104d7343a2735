"""The reals' side of a comparison in one file, so that many sets of fakes can be compared with it.

A safetensors file: per level the normalised descriptors, `level{r}` `[M, C * 49]` float32, and as metadata
the protocol and the reals' distances to themselves. It is mapped, not read.
"""

import json
import os
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from celebahq.errors import FormatError, ToolError
from celebahq.files import atomic_path
from swd.method.protocol import Protocol
from swd.pipeline.distance import Distance, Estimate
from swd.pipeline.reals import Levels, Reals
from swd.pipeline.resources import Resources

FORMAT_NAME = "swd-reals"
FORMAT_VERSION = 1
SUFFIX = ".safetensors"


class CachedLevels(Levels):
    """Descriptors in a cache file."""

    def __init__(self, path: Path, protocol: Protocol, device: torch.device) -> None:
        self._path, self._protocol, self._device = path, protocol, device

    def load(self, level: int) -> Tensor:
        """See `Levels`; on the CPU the file's own pages."""
        with safe_open(self._path, "pt") as file:
            rows: Tensor = file.get_tensor(level_key(self._protocol.resolutions[level]))
        return rows.to(self._device)


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


def save_cache(path: Path, reals: Reals, resources: Resources) -> None:
    """Write a cache, one level in memory at a time; the file appears when it is complete."""
    protocol = reals.protocol
    header: dict[str, Any] = {
        "__metadata__": {
            "format": FORMAT_NAME,
            "format_version": str(FORMAT_VERSION),
            "name": reals.name,
            "protocol": json.dumps(asdict(protocol)),
            "fresh_patches": json.dumps(asdict(reals.fresh_patches)),
            "disjoint": json.dumps(asdict(reals.disjoint) if reals.disjoint else None),
        }
    }
    for number, resolution in enumerate(protocol.resolutions):
        header[level_key(resolution)] = {
            "dtype": "F32",
            "shape": [protocol.images * protocol.patches, protocol.descriptor_size],
            "data_offsets": [cache_bytes(protocol, number), cache_bytes(protocol, number + 1)],
        }
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    # All processes take part in loading a level, one writes it.
    target = atomic_path(path) if resources.world.is_main else nullcontext(Path(os.devnull))
    # safetensors' own writer wants all levels in memory at once.
    with target as partial, partial.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for level in range(len(protocol.resolutions)):
            file.write(reals.levels.load(level).cpu().contiguous().numpy().data)


def load_cache(path: Path, device: torch.device) -> Reals:
    """Open a cache.

    Raises:
        ToolError: There is no such file.
        FormatError: It is damaged, no such cache, or from a later version of this tool.
    """
    if not path.is_file():
        raise ToolError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as err:
        raise FormatError(f"{path}: not a readable safetensors file, or damaged ({err})") from err
    if metadata.get("format") != FORMAT_NAME:
        raise FormatError(f"{path}: not made by `swd cache`")
    try:
        if int(metadata["format_version"]) > FORMAT_VERSION:
            raise FormatError(f"{path}: written by a later version of this tool: update it")
        protocol = Protocol(**json.loads(metadata["protocol"]))
        shape = (protocol.images * protocol.patches, protocol.descriptor_size)
        if shapes != {level_key(resolution): shape for resolution in protocol.resolutions}:
            raise FormatError(f"{path}: its levels are not those of its protocol")
        disjoint = json.loads(metadata["disjoint"])
        return Reals(
            metadata["name"],
            protocol,
            CachedLevels(path, protocol, device),
            fresh_patches=_distance(json.loads(metadata["fresh_patches"])),
            disjoint=_distance(disjoint) if disjoint else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise FormatError(f"{path}: its metadata are damaged; make it anew with `swd cache`") from err


def _distance(fields: dict[str, Any]) -> Distance:
    return Distance(
        fields["images"],
        {int(resolution): Estimate(**estimate) for resolution, estimate in fields["levels"].items()},
        Estimate(**fields["average"]),
    )
