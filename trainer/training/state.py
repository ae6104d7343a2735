"""All that the next training step depends on."""

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from celebahq.errors import FormatError, ToolError
from celebahq.files import read_jsonl
from trainer.configuration.config import TrainingConfig
from trainer.networks.models import build_discriminator, build_generator
from trainer.networks.progressive import Discriminator, Generator, resolution_of
from trainer.storage.checkpoint import STATE_FORMAT, read_tensors, state_path, states, write_tensors
from trainer.storage.run_status import STATS
from trainer.storage.runs import Run
from trainer.training.optimizer import Adam

log = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """Networks, optimizers and counters of a run."""

    G: Generator
    D: Discriminator
    Gs: Generator
    G_adam: Adam
    D_adam: Adam
    nimg: int = 0
    """Real images shown to D so far; the key of everything random."""
    phase_nimg: int = 0
    """`nimg` when the schedule was last looked up."""
    tick: int = 0
    """Number of the current tick."""
    tick_nimg: int = 0
    """`nimg` when it began."""
    skipped_steps: int = 0
    """Steps left out because of non-finite gradients."""
    gdrop_average: float = 0.0
    """Running average of D's loss, which decides the strength of its noise."""
    gdrop_strength: float = 0.0
    """Strength of D's multiplicative noise (LSGAN)."""


PARTS = ("G", "D", "Gs", "G_adam", "D_adam")
COUNTERS = ("nimg", "phase_nimg", "tick", "tick_nimg", "skipped_steps", "gdrop_average", "gdrop_strength")


def new_state(config: TrainingConfig, device: torch.device) -> TrainingState:
    """Untrained networks; the same on every process and device for a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.train.seed)
        G, D = build_generator(config), build_discriminator(config)
    for network in (G, D):
        network.to(device)
        if config.runtime.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    G_adam, D_adam = new_adam(G, config), new_adam(D, config)
    return TrainingState(G, D, copy.deepcopy(G).requires_grad_(False), G_adam, D_adam)


def new_adam(network: nn.Module, config: TrainingConfig) -> Adam:
    """Adam for one network."""
    options = config.optimizer
    return Adam(network.named_parameters(), beta1=options.beta1, beta2=options.beta2, eps=options.epsilon)


def save_state(run: Run, state: TrainingState) -> Path:
    """Write a training state, atomically, and return where."""
    path = state_path(run.folder, state.nimg)
    counters = {name: getattr(state, name) for name in COUNTERS}
    write_tensors(path, STATE_FORMAT, tensor_parts(state), counters, run.identity)
    return path


def tensor_parts(state: TrainingState) -> dict[str, dict[str, Tensor]]:
    """The tensors of a state, in named groups."""
    return {name: getattr(state, name).state_dict() for name in PARTS}


def load_state(
    path: Path, config: TrainingConfig, device: torch.device, run: str | None = None
) -> TrainingState:
    """Read a training state back.

    Args:
        path: The file.
        config: Of the run.
        device: Where the state is to be.
        run: Identity of the run that it must be of, where that is known.

    Raises:
        FormatError: The file is not a training state, or of another run.
    """
    content = read_tensors(path, STATE_FORMAT, run)
    try:
        return _restored({name: content.part(name) for name in PARTS}, content.facts, config, device)
    except (RuntimeError, KeyError, ValueError) as err:  # of torch, for other networks
        raise FormatError(path, "not a state of networks as this run's configuration makes them") from err


def grown(state: TrainingState, config: TrainingConfig, device: torch.device) -> TrainingState:
    """The same state in networks with further resolutions, whose layers begin as new ones do."""
    return _restored(tensor_parts(state), vars(state), config, device)


def _restored(
    parts: Mapping[str, dict[str, Tensor]],
    counters: Mapping[str, Any],
    config: TrainingConfig,
    device: torch.device,
) -> TrainingState:
    """A state from its tensors and counters; resolutions above those of the tensors are untrained."""
    state = new_state(config, device)
    for name in PARTS:
        part, given = getattr(state, name), parts[name]
        highest = max(map(resolution_of, given))
        new = {key: value for key, value in part.state_dict().items() if resolution_of(key) > highest}
        part.load_state_dict({**new, **given})
    for name in COUNTERS:
        setattr(state, name, counters[name])
    return state


def newest_state(run: Run, device: torch.device) -> tuple[TrainingState | None, list[Path]]:
    """The newest state that can be read, and the newer ones that cannot; None where there were none ever.

    Raises:
        ToolError: There were states, but they are gone, or none can be read.
    """
    damaged: list[Path] = []
    for path in reversed(states(run.folder)):
        try:
            return load_state(path, run.config, device, run.identity), damaged
        except FormatError as err:
            log.warning("%s; going back to the state before it", err)
            damaged.append(path)
    if damaged:
        raise ToolError(run.folder, f"none of its {len(damaged)} states can be read: {damaged[-1].name}, ...")
    if (run.folder / STATS).exists() and read_jsonl(run.folder / STATS):
        raise ToolError(run.folder, "its states are gone, so that nothing is left to continue from")
    return None, damaged


def set_aside(damaged: Sequence[Path]) -> None:
    """Keep states that cannot be read out of the way of those to come."""
    for path in damaged:
        path.rename(path.with_name(f"{path.name}.damaged"))
