"""The authors' TensorFlow networks as ours: options, names and layouts of the variables translated."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from celebahq.errors import FormatError
from trainer.configuration.config import (
    ConfigError,
    DiscriminatorConfig,
    GeneratorConfig,
    ScheduleConfig,
    TrainingConfig,
)
from trainer.configuration.settings import from_dict
from trainer.legacy.unpickling import Array, PickledNetwork, read_networks
from trainer.networks.progressive import Discriminator, Generator
from trainer.use.snapshot import Snapshot

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class LegacyNetworks:
    """What a network pickle holds, as our networks in eval mode."""

    generator: Generator
    discriminator: Discriminator
    averaged: Generator
    """Gs: the one to generate with."""
    lod: float
    """Level of detail that the networks had reached."""


def load_legacy_pickle(path: Path) -> LegacyNetworks:
    """Read a pickle of the TensorFlow program, `karras2018iclr-*.pkl`.

    Raises:
        FormatError: Not such a pickle: truncated, another structure, unknown classes or functions (none is
            executed), or networks that differ from the published ones.
    """
    try:
        with path.open("rb") as file:
            G, D, Gs = read_networks(file)
        return LegacyNetworks(_generator(G), _discriminator(D), _generator(Gs), Gs.lod)
    except (FormatError, ConfigError) as err:
        message = " ".join(str(err).split())  # names in a damaged file may hold anything
        raise FormatError(path, message) from err


def import_snapshot(path: Path) -> Snapshot:
    """The averaged generator of a network pickle, as a snapshot to generate from.

    Labels, which the pickle does not hold, are taken to be one-hot and equally frequent.

    Raises:
        FormatError: As `load_legacy_pickle`.
    """
    networks = load_legacy_pickle(path)
    G, D = networks.averaged.config, networks.discriminator.config
    return Snapshot(
        generator=networks.averaged,
        config=TrainingConfig(
            name="imported",
            description=f"imported from {path.name}",
            generator=G,
            discriminator=D,
            schedule=ScheduleConfig(resolution=G.resolution),
        ),
        nimg=0,  # not recorded in the pickle
        lod=networks.lod,
        label_rows=torch.eye(G.label_size) if G.label_size else None,
    )


# The TensorFlow functions' own defaults; a network's static_kwargs hold only what was passed.
_COMMON_DEFAULTS = {
    "num_channels": 1,
    "resolution": 32,
    "label_size": 0,
    "fmap_base": 8192,
    "fmap_decay": 1.0,
    "fmap_max": 512,
    "use_wscale": True,
    "fused_scale": True,
}
_G_DEFAULTS = {
    **_COMMON_DEFAULTS,
    "latent_size": None,
    "normalize_latents": True,
    "use_pixelnorm": True,
    "pixelnorm_epsilon": 1e-8,
    "use_leakyrelu": True,
}
_D_DEFAULTS = {**_COMMON_DEFAULTS, "mbstd_group_size": 4}
_WITHOUT_MEANING = ("dtype", "structure", "is_template_graph")


def _options(network: PickledNetwork, function: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    if network.build_function != function:
        raise FormatError(f"a network is built by {network.build_function!r}, where {function} is expected")
    unknown = sorted(set(network.options) - set(defaults) - set(_WITHOUT_MEANING))
    if unknown:
        raise FormatError(f"{function} has the unknown option {unknown[0]}={network.options[unknown[0]]!r}")
    options = {**defaults, **network.options}
    for name in _WITHOUT_MEANING:
        options.pop(name, None)
    options["channels"] = options.pop("num_channels")
    return options


def _generator(network: PickledNetwork) -> Generator:
    options = _options(network, "G_paper", _G_DEFAULTS)
    epsilon, latent_size = options.pop("pixelnorm_epsilon"), options.pop("latent_size")
    if epsilon != 1e-8:
        raise FormatError(f"G_paper has pixelnorm_epsilon={epsilon!r}: only 1e-8 is supported")
    config = from_dict(GeneratorConfig, options, prefix="G_paper.")
    if latent_size is None:
        latent_size = min(config.fmap_base, config.fmap_max)
    config = dataclasses.replace(config, latent_size=latent_size)
    return _build(lambda: Generator(config), network.variables, config.resolution)


def _discriminator(network: PickledNetwork) -> Discriminator:
    config = from_dict(DiscriminatorConfig, _options(network, "D_paper", _D_DEFAULTS), prefix="D_paper.")
    return _build(lambda: Discriminator(config), network.variables, config.resolution)


def _build(make: Callable[[], N], variables: Mapping[str, Array], resolution: int) -> N:
    state = {
        _key(name, resolution): torch.from_numpy(
            np.array(_to_torch_layout(name, array), np.float32, order="C")
        )
        for name, array in variables.items()
    }
    try:
        with torch.device("meta"):  # no memory before the sizes are known to be those of the variables
            network = make()
        network.load_state_dict(state, assign=True)
    except RuntimeError as err:
        raise FormatError(f"the variables are not those of the published networks: {err}") from err
    return network.eval().requires_grad_(False)


def _key(name: str, resolution: int) -> str:
    """Our name: `16x16/Conv0_up/weight` is `blocks.16.conv0.weight`, `ToRGB_lod0/bias` is `torgb.R.bias`."""
    if match := re.fullmatch(r"(\d+)x\1/(Conv[01]?|Dense[01]?)(_up|_down)?/(weight|bias)", name):
        level, layer, _, part = match.groups()
        return f"dense.{part}" if layer == "Dense" else f"blocks.{level}.{layer.lower()}.{part}"
    if match := re.fullmatch(r"(ToRGB|FromRGB)_lod(\d)/(weight|bias)", name):
        layer, lod, part = match.groups()
        return f"{layer.lower()}.{resolution >> int(lod)}.{part}"
    raise FormatError(f"the variable {name!r} is not one of the published networks")


def _to_torch_layout(name: str, array: Array) -> Array:
    """TensorFlow's order of axes to PyTorch's."""
    if "_up/" in name and array.ndim == 4:
        # [k, k, out, in] of a transposed convolution, which scatters: as a convolution it is turned over.
        return array.transpose(2, 3, 0, 1)[:, :, ::-1, ::-1]
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)  # [k, k, in, out]
    return array.T  # dense: [in, out]; biases stay
