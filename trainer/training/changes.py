"""What may change in a run that has begun: the way ahead, never the way behind it."""

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from trainer.configuration.config import ConfigError, TrainingConfig
from trainer.configuration.schedule import TrainingSchedule
from trainer.configuration.settings import load_config, override, save_config, to_dict
from trainer.storage.runs import CONFIG, Run, remember

FREE = ("train.total_kimg", "train.on_nan", "schedule.", "runtime.", "snapshot.")
RESOLUTION = ("generator.resolution", "discriminator.resolution", "schedule.resolution")
PAST_POINTS = 2001
SAME_LOD = 1e-9  # counted from another resolution, the same lod may be rounded differently


def change_run(config: TrainingConfig, assignments: Iterable[str], nimg: int) -> TrainingConfig:
    """A run's configuration with changes.

    Free are its length, a higher resolution, learning rates, intervals, how steps are computed, and what of
    the schedule is still to come.

    Args:
        config: What the run has been following.
        assignments: As for `settings.override`.
        nimg: Real images shown so far.

    Raises:
        ConfigError: A field is unknown or mistyped, or what lies behind the run would have been different.
    """
    changed = override(config, assignments)
    higher = changed.schedule.resolution > config.schedule.resolution
    if higher:
        changed = _growing_on(config, changed, nimg)
    for name, (old, new) in differences(config, changed).items():
        if not (name.startswith(FREE) or (higher and name in RESOLUTION)):
            raise ConfigError(
                f"{name} = {new}",
                f"the run was begun with {old}, and what it has learned depends on it; start "
                "another run (--init RUN starts it from this one's networks)",
            )
    if changed.train.total_kimg * 1000 < nimg and changed.train.total_kimg < config.train.total_kimg:
        raise ConfigError(
            f"train.total_kimg = {changed.train.total_kimg:g}", f"the run is at {nimg / 1000:g}"
        )
    require_same_past(config, changed, nimg)
    return changed


def _growing_on(config: TrainingConfig, changed: TrainingConfig, nimg: int) -> TrainingConfig:
    """A schedule into higher resolutions; the next fade begins now where it would have long begun."""
    resolution, kimg = config.schedule.resolution, nimg / 1000
    subject = f"resolution = {changed.schedule.resolution}"
    if config.architecture == "mnist-1k":
        raise ConfigError(subject, "D's first layer is that of the final resolution; start another run")
    if changed.train.total_kimg <= kimg:
        raise ConfigError(
            subject, f"the run is at {kimg:g} kimg and ends at {changed.train.total_kimg:g}; set "
            "train.total_kimg as well"
        )  # fmt: skip
    own = config.schedule.train_kimg_by_resolution.get(resolution)
    reached = list(TrainingSchedule(config.schedule).stages(kimg))
    table = changed.schedule.train_kimg_by_resolution
    if reached and reached[-1].resolution == resolution and table.get(resolution) == own:
        stayed_kimg = math.ceil(round(1000 * (kimg - reached[-1].stable_kimg), 3)) / 1000
        if stayed_kimg > (config.schedule.train_kimg if own is None else own):
            table = {**table, resolution: stayed_kimg}
    schedule = dataclasses.replace(changed.schedule, train_kimg_by_resolution=table)
    return dataclasses.replace(changed, schedule=schedule)


def require_same_past(config: TrainingConfig, changed: TrainingConfig, nimg: int) -> None:
    """Raise `ConfigError` if growth or minibatch so far would not have been what they were."""
    old, new = TrainingSchedule(config.schedule), TrainingSchedule(changed.schedule)
    octaves = math.log2(changed.schedule.resolution / config.schedule.resolution)
    for kimg in np.linspace(0.0, nimg / 1000, PAST_POINTS).tolist():
        before, after = old.at(kimg), new.at(kimg)
        lod = after.lod - octaves
        if abs(before.lod - lod) > SAME_LOD or before.minibatch != after.minibatch:
            raise ConfigError(
                "schedule",
                f"at {kimg:.1f} kimg, which the run has behind it, lod {before.lod:.2f} with "
                f"minibatch {before.minibatch} would have been lod {lod:.2f} with {after.minibatch}; "
                "change what is still to come, or start another run",
            )


def require_unchanged(folder: Path, config: TrainingConfig) -> None:
    """Raise `ConfigError` if a run follows another configuration; the passes are its own."""
    for name, (old, new) in differences(load_config(folder / CONFIG), config).items():
        if not name.startswith("runtime.minibatch_gpu"):
            raise ConfigError(
                folder,
                f"has {name} = {old}, not {new}; `trainer resume {folder} --set {name}={new}` "
                "changes it where it still can be, without --resume another run begins",
            )


def keep_config(
    run: Run, event: str, nimg: int, previous: TrainingConfig | None = None, **facts: Any
) -> None:
    """Note in a run's history what has happened to it, and keep the configuration that it follows now."""
    changes = {} if previous is None else differences(previous, run.config)
    remember(run.folder, event, kimg=nimg / 1000, **facts, changes=changes)
    if changes:
        save_config(run.config, run.folder / CONFIG)


def differences(config: TrainingConfig, changed: TrainingConfig) -> dict[str, tuple[Any, Any]]:
    """Fields that differ, by dotted name: their values before and after."""
    old, new = flatten(to_dict(config)), flatten(to_dict(changed))
    names = [*old, *(name for name in new if name not in old)]
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
