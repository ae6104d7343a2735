"""Networks that were trained before, as the beginning of another run (fine-tuning, growing further)."""

import dataclasses
import re
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
from trainer.storage.checkpoint import (
    SNAPSHOTS,
    STATE_FORMAT,
    STATES,
    read_tensors,
    state_path,
    states,
)
from trainer.storage.runs import CONFIG
from trainer.training.state import TrainingState

MAY_DIFFER = ("resolution", "fused_scale")  # of G, where fused layers compute the same
LEVEL = re.compile(r"(?:blocks|torgb|fromrgb)\.(\d+)\.")


@dataclass(frozen=True)
class TrainedPair:
    """G, D and the average of G, and how far they have grown."""

    source: Path
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    resolution: int
    """That they have grown to."""
    weights: dict[str, dict[str, Tensor]]
    """Of G, D and Gs."""


def load_pair(path: Path) -> TrainedPair:
    """The networks of a run, of one of its states, or of the authors' pickle.

    Args:
        path: A run folder, for its newest state; a state; a snapshot whose state is kept, as a snapshot holds
            no discriminator; or `karras2018iclr-*.pkl`.

    Raises:
        ToolError: It holds no pair.
        FormatError: It is damaged.
    """
    if path.suffix == ".pkl":
        networks = load_legacy_pickle(path)
        parts = {"G": networks.generator, "D": networks.discriminator, "Gs": networks.averaged}
        G, D = networks.averaged.config, networks.discriminator.config
        weights = {name: network.state_dict() for name, network in parts.items()}
        return TrainedPair(path, G, D, G.resolution >> int(networks.lod), weights)
    folder, state = _run_and_state(path)
    content, config = read_tensors(state, STATE_FORMAT), load_config(folder / CONFIG)
    weights = {name: content.part(name) for name in ("G", "D", "Gs")}
    resolution = TrainingSchedule(config.schedule).at(content.facts["phase_nimg"] / 1000).resolution
    return TrainedPair(path, config.generator, config.discriminator, resolution, weights)


def begin_with(state: TrainingState, pair: TrainedPair, config: TrainingConfig) -> None:
    """Put the pair's weights into new networks; resolutions that only one of them has are left out.

    Raises:
        ToolError: The networks are of another kind; names the settings that fit.
    """
    _require_same_kind(pair, config)
    for name in ("G", "D", "Gs"):
        _copy_weights(getattr(state, name), pair.weights[name], f"{pair.source}: {name}")


def _run_and_state(path: Path) -> tuple[Path, Path]:
    """The run folder and the state in it that a path stands for."""
    if path.is_dir():
        found = states(path)
        if not found:
            raise ToolError(path, "holds no states/state-*.safetensors to begin with")
        return path, found[-1]
    folder = path.parent.parent
    if path.parent.name == SNAPSHOTS:
        state = state_path(folder, int(path.stem.rpartition("-")[2]))
        if not state.is_file():
            raise ToolError(
                path,
                f"a snapshot holds no discriminator, and its state is not kept; give the run, {folder}, for "
                "its newest state",
            )
        return folder, state
    if path.parent.name != STATES or not (folder / CONFIG).is_file():
        raise ToolError(path, "not a run folder, a state in one, or a network pickle (.pkl)")
    return folder, path


def _require_same_kind(pair: TrainedPair, config: TrainingConfig) -> None:
    remedies: list[str] = []
    sections: dict[str, tuple[Any, Any]] = {
        "generator": (pair.generator, config.generator),
        "discriminator": (pair.discriminator, config.discriminator),
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
        raise ToolError(pair.source, f"networks of another kind; these settings fit: {' '.join(remedies)}")


@torch.no_grad()
def _copy_weights(network: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    own = network.state_dict()
    limit = min(max(_levels(own)), max(_levels(weights)))  # the largest resolution that both have
    for name in sorted(own.keys() | weights.keys()):
        level = LEVEL.match(name)
        if level and int(level[1]) > limit:
            continue
        if name not in own or name not in weights or own[name].shape != weights[name].shape:
            raise ToolError(where, f"{name} does not fit into these networks")
        own[name].copy_(weights[name])


def _levels(weights: dict[str, Tensor]) -> list[int]:
    return [int(match[1]) for name in weights if (match := LEVEL.match(name))]
