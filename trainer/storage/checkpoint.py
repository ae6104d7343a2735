"""A run's files: the state that the next step depends on, and snapshots of the averaged generator.

Everything is safetensors: named tensors, and JSON in the header. Nothing is ever unpickled.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from celebahq.errors import FormatError, ToolError
from celebahq.files import atomic_path

STATE_FORMAT = "trainer-state"
SNAPSHOT_FORMAT = "trainer-snapshot"
FORMAT_VERSION = 1
HEADER = "trainer"
STATES = "states"
SNAPSHOTS = "snapshots"


@dataclass(frozen=True)
class TensorFile:
    """What a file of ours holds: tensors by name, and the facts in its header."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix.`, without it."""
        start = prefix + "."
        return {name[len(start) :]: t for name, t in self.tensors.items() if name.startswith(start)}


def write_tensors(
    path: Path, format_name: str, parts: dict[str, dict[str, Tensor]], facts: dict[str, Any]
) -> None:
    """Write named groups of tensors and JSON facts to one file, atomically."""
    tensors = {
        f"{part}.{name}": tensor.detach().cpu().contiguous()
        for part, named in parts.items()
        for name, tensor in named.items()
    }
    header = {"format": format_name, "format_version": FORMAT_VERSION, "facts": facts}
    with atomic_path(path) as partial:
        # One entry, as safetensors writes several in any order, and equal states should be equal bytes.
        partial.write_bytes(save(tensors, metadata={HEADER: json.dumps(header)}))


def read_tensors(path: Path, format_name: str) -> TensorFile:
    """Read what `write_tensors` wrote.

    Raises:
        ToolError: There is no such file.
        FormatError: It is not a safetensors file, of another kind, or of a newer version.
    """
    if not path.is_file():
        raise ToolError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(file)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as err:
        raise FormatError(f"{path}: not a readable safetensors file ({err})") from err
    if header.get("format") != format_name:
        found = header.get("format", "no format name")
        raise FormatError(f"{path}: expected a {format_name} file, found {found}")
    if header["format_version"] > FORMAT_VERSION:
        raise FormatError(
            f"{path}: format version {header['format_version']}; this release reads up to {FORMAT_VERSION}"
        )
    return TensorFile(tensors, header["facts"])


def _header(file: Any) -> dict[str, Any]:
    header: dict[str, Any] = json.loads((file.metadata() or {}).get(HEADER, "{}"))
    return header


def state_path(run: Path, nimg: int) -> Path:
    """Where the training state after `nimg` real images lies."""
    return run / STATES / f"state-{nimg:011d}.safetensors"


def snapshot_path(run: Path, nimg: int) -> Path:
    """Where the averaged generator after `nimg` real images lies."""
    return run / SNAPSHOTS / f"snapshot-{nimg:011d}.safetensors"


def states(run: Path) -> list[Path]:
    """All complete training states, oldest first."""
    return sorted((run / STATES).glob("state-*.safetensors"))


def snapshots(run: Path) -> list[Path]:
    """All complete snapshots, oldest first."""
    return sorted((run / SNAPSHOTS).glob("snapshot-*.safetensors"))


def prune_states(run: Path, *, keep_last: int, keep_every_ticks: int) -> None:
    """Delete all but the newest `keep_last` and those of ticks that `keep_every_ticks` divides (0: none)."""
    for path in states(run)[:-keep_last]:
        if not (keep_every_ticks and _tick_of(path) % keep_every_ticks == 0):
            path.unlink()


def _tick_of(path: Path) -> int:
    with safe_open(path, framework="pt") as file:
        return int(_header(file)["facts"]["tick"])
