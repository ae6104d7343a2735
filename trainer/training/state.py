"""All that the next training step depends on."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.configuration.config import TrainingConfig
from trainer.networks.models import build_discriminator, build_generator
from trainer.networks.progressive import Discriminator, Generator
from trainer.storage.checkpoint import STATE_FORMAT, read_tensors, state_path, write_tensors
from trainer.training.optimizer import Adam


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


def save_state(run: Path, state: TrainingState) -> Path:
    """Write a training state, atomically, and return where."""
    path = state_path(run, state.nimg)
    write_tensors(path, STATE_FORMAT, tensor_parts(state), {name: getattr(state, name) for name in COUNTERS})
    return path


def tensor_parts(state: TrainingState) -> dict[str, dict[str, Tensor]]:
    """The tensors of a state, in named groups."""
    return {name: getattr(state, name).state_dict() for name in PARTS}


def load_state(path: Path, config: TrainingConfig, device: torch.device) -> TrainingState:
    """Read a training state back.

    Raises:
        FormatError: The file is not a training state.
    """
    content = read_tensors(path, STATE_FORMAT)
    state = new_state(config, device)
    for name in PARTS:
        getattr(state, name).load_state_dict(content.part(name))
    for name in COUNTERS:
        setattr(state, name, content.facts[name])
    return state
