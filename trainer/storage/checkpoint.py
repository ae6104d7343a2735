"""A run's files: the state that the next step depends on, and snapshots of the averaged generator.

Everything is safetensors: named tensors, and JSON in the header, with a digest of both. Nothing is ever
unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from celebahq.errors import TOO_LITTLE_MEMORY, FormatError, ToolError
from celebahq.files import atomic_path, parse_json

STATE_FORMAT = "trainer-state"
SNAPSHOT_FORMAT = "trainer-snapshot"
FORMAT_VERSION = 2
"""1 had no digest and did not say of which run a file is."""
HEADER = "trainer"
STATES = "states"
SNAPSHOTS = "snapshots"


@dataclass(frozen=True)
class TensorFile:
    """What a file of ours holds: tensors by name, and the facts in its header."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    run: str | None = None
    """Identity of the run that wrote it; None where it is not known."""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix.`, without it."""
        start = prefix + "."
        return {name[len(start) :]: t for name, t in self.tensors.items() if name.startswith(start)}


def write_tensors(
    path: Path,
    format_name: str,
    parts: dict[str, dict[str, Tensor]],
    facts: dict[str, Any],
    run: str | None = None,
) -> None:
    """Write named groups of tensors and JSON facts to one file, atomically.

    Args:
        path: The file to make.
        format_name: What kind of file it is.
        parts: Group -> name -> tensor.
        facts: What JSON can hold.
        run: Identity of the run whose file it is.
    """
    tensors = {
        f"{part}.{name}": tensor.detach().cpu().contiguous()
        for part, named in parts.items()
        for name, tensor in named.items()
    }
    header = {"format": format_name, "format_version": FORMAT_VERSION, "run": run, "facts": facts}
    header = json.loads(json.dumps(header))  # as it will be read, with text for keys
    header["sha256"] = _digest(header, tensors)
    with atomic_path(path) as partial:
        # One entry, as safetensors writes several in any order, and equal states should be equal bytes.
        partial.write_bytes(save(tensors, metadata={HEADER: json.dumps(header)}))


def read_tensors(path: Path, format_name: str, run: str | None = None) -> TensorFile:
    """Read what `write_tensors` wrote.

    Args:
        path: The file.
        format_name: What kind of file it must be.
        run: Identity of the run that it must be of, where both are known.

    Raises:
        ToolError: There is no such file.
        FormatError: It is not a safetensors file, damaged, of another kind or run, or of a newer version.
    """
    if not path.is_file():
        raise ToolError(path, "no such file")
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(file, path)
            _check_header(header, path, format_name)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except MemoryError as err:
        raise ToolError(path, TOO_LITTLE_MEMORY) from err
    except SAFETENSORS_ERRORS as err:
        raise FormatError(path, f"not a readable safetensors file ({err})") from err
    if header["format_version"] > 1 and header.get("sha256") != _digest(header, tensors):
        raise FormatError(path, "damaged: not the tensors and facts that were written (SHA-256)")
    found = header.get("run")
    if None not in (run, found) and found != run:
        raise FormatError(path, f"of another run ({found}, not {run})")
    return TensorFile(tensors, header["facts"], found)


SAFETENSORS_ERRORS = (SafetensorError, RuntimeError, KeyError, AttributeError, ValueError)
"""Of safetensors, and of torch where a file names a type or a shape that torch does not have."""


def _check_header(header: dict[str, Any], path: Path, format_name: str) -> None:
    if header.get("format") != format_name:
        found = header.get("format", "no format name")
        raise FormatError(path, f"expected a {format_name} file, found {found}")
    version, facts = header.get("format_version"), header.get("facts")
    if not isinstance(version, int) or not isinstance(facts, dict):
        raise FormatError(path, "damaged: its header has no version or no facts")
    if version > FORMAT_VERSION:
        raise FormatError(path, f"format version {version}; this release reads up to {FORMAT_VERSION}")


def _digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of everything that a file says, in hex: the header but the digest, and every tensor's bytes."""
    said = {key: value for key, value in header.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _header(file: Any, path: Path) -> dict[str, Any]:
    return parse_json((file.metadata() or {}).get(HEADER, "{}"), str(path))


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
        return int(_header(file, path)["facts"]["tick"])
