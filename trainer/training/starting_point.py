"""Networks that were trained before, as the beginning of another run (fine-tuning, growing further)."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from celebahq.errors import ToolError
from trainer.configuration.config import DiscriminatorConfig, GeneratorConfig, TrainingConfig
from trainer.configuration.schedule import TrainingSchedule
from trainer.configuration.settings import load_config, to_dict
from trainer.legacy.conversion import load_legacy_pickle
from trainer.networks.progressive import resolution_of
from trainer.storage.checkpoint import STATE_FORMAT, STATES, read_tensors, states
from trainer.storage.runs import CONFIG
from trainer.training.state import TrainingState
from trainer.use.snapshot import load_snapshot

MAY_DIFFER = ("resolution", "fused_scale")  # of G, where fused layers compute the same


@dataclass(frozen=True)
class TrainedNetworks:
    """G, D and the average of G, and how far they have grown; a snapshot's average is also G."""

    source: Path
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig | None
    """None where there is none."""
    resolution: int
    """That they have grown to."""
    weights: dict[str, dict[str, Tensor]]
    """Of G and Gs, and of D if there is one."""


def load_trained(path: Path) -> TrainedNetworks:
    """The networks of a run, of one of its states, of a snapshot, or of the authors' pickle.

    Args:
        path: A run folder, for its newest state; a state; a snapshot, which holds no discriminator and so
            stands for its state where that lies beside it; or `karras2018iclr-*.pkl`.

    Raises:
        ToolError: It holds no networks.
        FormatError: It is damaged, or of another kind.
    """
    if path.suffix == ".pkl":
        networks = load_legacy_pickle(path)
        parts = {"G": networks.generator, "D": networks.discriminator, "Gs": networks.averaged}
        G, D = networks.averaged.config, networks.discriminator.config
        weights = {name: network.state_dict() for name, network in parts.items()}
        return TrainedNetworks(path, G, D, G.resolution >> int(networks.lod), weights)
    state = _state_of(path)
    if state is None:
        snapshot = load_snapshot(path)
        average = snapshot.generator.state_dict()
        weights = {"G": average, "Gs": average}
        return TrainedNetworks(path, snapshot.config.generator, None, snapshot.resolution, weights)
    content, config = read_tensors(state, STATE_FORMAT), load_config(state.parent.parent / CONFIG)
    weights = {name: content.part(name) for name in ("G", "D", "Gs")}
    resolution = TrainingSchedule(config.schedule).at(content.facts["phase_nimg"] / 1000).resolution
    return TrainedNetworks(path, config.generator, config.discriminator, resolution, weights)


def begin_with(state: TrainingState, trained: TrainedNetworks, config: TrainingConfig) -> None:
    """Put trained weights into new networks; resolutions that only one of them has are left out.

    Raises:
        ToolError: The networks are of another kind; names the settings that fit.
    """
    _require_same_kind(trained, config)
    for name, weights in trained.weights.items():
        _copy_weights(getattr(state, name), weights, f"{trained.source}: {name}")


def _state_of(path: Path) -> Path | None:
    """The state in a run folder that a path stands for; None for a snapshot without one."""
    if path.is_dir():
        found = states(path)
        if not found:
            raise ToolError(path, "holds no states/state-*.safetensors to begin with")
        return found[-1]
    if path.suffix != ".safetensors":
        raise ToolError(path, "not a run folder, a state in one, a snapshot, or a network pickle (.pkl)")
    folder = path.parent.parent
    state = folder / STATES / path.name.replace("snapshot-", "state-")
    return state if state.is_file() and (folder / CONFIG).is_file() else None


def _require_same_kind(trained: TrainedNetworks, config: TrainingConfig) -> None:
    remedies: list[str] = []
    sections: dict[str, tuple[Any, Any]] = {
        "generator": (trained.generator, config.generator),
        "discriminator": (trained.discriminator or config.discriminator, config.discriminator),
    }
    for section, (theirs, ours) in sections.items():
        there = to_dict(theirs)
        for field in dataclasses.fields(ours):
            free = field.name == "resolution" or (section == "generator" and field.name in MAY_DIFFER)
            value = there[field.name]
            if not free and value != getattr(ours, field.name):
                text = str(value).lower() if isinstance(value, bool) else value
                remedies.append(f"--set {section}.{field.name}={text}")
    if remedies:
        raise ToolError(trained.source, f"networks of another kind; these settings fit: {' '.join(remedies)}")


@torch.no_grad()
def _copy_weights(network: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    own = network.state_dict()
    limit = min(max(map(resolution_of, own)), max(map(resolution_of, weights)))  # the largest that both have
    for name in sorted(own.keys() | weights.keys()):
        if resolution_of(name) > limit:
            continue
        if name not in own or name not in weights or own[name].shape != weights[name].shape:
            raise ToolError(where, f"{name} does not fit into these networks")
        own[name].copy_(weights[name])
