"""Restoration weights on disk: fp16 safetensors that describe their own network."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from celebahq.errors import FormatError
from celebahq.files import atomic_path
from celebahq.restore.networks import ARCHITECTURES, Network

FORMAT = "celebahq-restorer-1"


def save_network(path: Path, network: Network, facts: dict[str, str | int | float]) -> None:
    """Write a network's weights as fp16, with its architecture and the given facts as metadata."""
    weights = {name: value.detach().cpu().half().contiguous() for name, value in network.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "architecture": type(network).__name__,
        "config": json.dumps(network.config),
        **{name: str(value) for name, value in facts.items()},
    }
    with atomic_path(path) as partial:
        save_file(weights, partial, metadata)


def is_own_file(path: Path) -> bool:
    """Whether a file says that `save_network` wrote it."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except SafetensorError:
        return False


def load_network(path: Path) -> Network:
    """Read a network written by `save_network`: float32, on the CPU, in evaluation mode.

    Raises:
        FormatError: The file is not such a safetensors file, or its weights do not fit its metadata.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as err:
        raise FormatError(path, f"not a readable safetensors file ({err})") from err
    if metadata.get("format") != FORMAT or metadata.get("architecture") not in ARCHITECTURES:
        raise FormatError(path, "not weights of a restoration network made by tools/train_restorer.py")
    try:
        config = json.loads(metadata["config"])
        with torch.random.fork_rng(devices=[]):  # the discarded initial weights must not move anybody's draws
            network = ARCHITECTURES[metadata["architecture"]](**config)
        network.load_state_dict(weights)
    except (RuntimeError, LookupError, TypeError, ValueError) as err:
        raise FormatError(path, "its weights do not fit the network its metadata names") from err
    return network.eval().requires_grad_(False)
