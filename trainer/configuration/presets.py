"""The published configurations, kept as data in `presets/*.toml`.

A file holds only what differs from the defaults, or from the preset that it `extends`. `[variants.NAME]`
holds named changes, applied by `preset("mnist-rgb-1k+ournorm+progression")`; `[world_size.N]` those of a
number of processes.
"""

import dataclasses
import logging
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from trainer.configuration.config import ConfigError, TrainingConfig
from trainer.configuration.schedule import TrainingSchedule
from trainer.configuration.settings import from_dict, nearest_name, share_fields

log = logging.getLogger(__name__)

# The parts of a file that are about choosing, not about training.
CHOICES = ("extends", "variants", "world_size")


@dataclass(frozen=True)
class PresetSummary:
    """One line of `trainer presets`."""

    name: str
    description: str
    variants: tuple[str, ...]


def preset_summaries() -> list[PresetSummary]:
    """All presets by name, with their variants."""
    summaries = []
    for name in _preset_names():
        values = _load(name)
        summaries.append(PresetSummary(name, values["description"], tuple(values.get("variants", {}))))
    return summaries


def preset(name: str, world_size: int = 1) -> TrainingConfig:
    """The whole configuration of a published run.

    Args:
        name: A preset, or `NAME+VARIANT+...`.
        world_size: Number of processes. `celebahq-1024` has its own minibatches for 1, 2, 4 and 8; any other
            number takes those of the next smaller one. Every minibatch is made divisible by the processes
            and, on each, by the group of the minibatch standard deviation. Either is logged.

    Raises:
        ConfigError: No such preset or variant, or more processes than images in a minibatch.

    >>> import trainer
    >>> config = trainer.preset("celebahq-1024")
    >>> config.schedule.resolution, config.generator.latent_size
    (1024, 512)
    """
    values = _preset_values(name)
    return _finished({**values, "name": name}, world_size)


def config_from_file(path: Path, world_size: int = 1) -> TrainingConfig:
    """The configuration of a TOML file: fields as presets have them, on top of the preset that it `extends`.

    The run's name is the field `name`, else the file's own.

    Raises:
        ConfigError: Not TOML, fields that there are not, no such preset, or none at all.
    """
    try:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as err:  # of TOML or of UTF-8
        raise ConfigError(path, str(err)) from err
    base = own.pop("extends", None)
    for name in CHOICES:
        if name in own:
            raise ConfigError(path, f"{name} is for presets; give its fields themselves")
    if not isinstance(base, str) or not base:
        raise ConfigError(
            path,
            'extends must be the name of a preset, as in extends = "faces-64" in the first line; `trainer '
            "presets` lists them",
        )
    try:
        values = _merge(_preset_values(base), own)
        return _finished({"name": path.stem, **values}, world_size)
    except ConfigError as err:
        raise ConfigError(path, str(err)) from err


def _preset_values(name: str) -> dict[str, Any]:
    """A preset's values with those of its variants on top."""
    base, *variants = name.split("+")
    names = _preset_names()
    if base not in names:
        raise ConfigError(f"preset {base!r}", f"{_no_such(base, names)}; `trainer presets` lists them")
    values = _load(base)
    for variant in variants:
        known = values.get("variants", {})
        if variant not in known:
            raise ConfigError(f"preset {name!r}, variant {variant!r}", _no_such(variant, known))
        values = _merge(values, known[variant])
    return values


def _finished(values: Mapping[str, Any], world_size: int) -> TrainingConfig:
    """A file's values as the configuration for a number of processes."""
    merged = _merge(values, _values_for(world_size, values.get("world_size", {}), values["name"]))
    plain = {key: value for key, value in merged.items() if key not in CHOICES}
    return fit_minibatches(from_dict(TrainingConfig, share_fields(plain)), world_size)


def fit_minibatches(config: TrainingConfig, world_size: int) -> TrainingConfig:
    """Reduce every minibatch to one that divides evenly over the processes; what changes is said aloud.

    Raises:
        ConfigError: A minibatch has fewer images than there are processes.
    """
    schedule, group = config.schedule, config.discriminator.mbstd_group_size
    resolutions = [stage.resolution for stage in TrainingSchedule(schedule).stages(config.train.total_kimg)]
    fitted = {}
    for resolution in resolutions:
        wanted = schedule.minibatch_by_resolution.get(resolution, schedule.minibatch)
        fitted[resolution] = even_minibatch(wanted, world_size, 1 if group == "all" else group)
        if fitted[resolution] != wanted:
            log.info(
                f"{config.name}: minibatch {wanted} at {resolution}x{resolution} becomes "
                f"{fitted[resolution]}, to divide over {world_size} processes"
            )
    changed = {
        r: n for r, n in fitted.items() if n != schedule.minibatch_by_resolution.get(r, schedule.minibatch)
    }
    table = {**schedule.minibatch_by_resolution, **changed}
    return dataclasses.replace(config, schedule=dataclasses.replace(schedule, minibatch_by_resolution=table))


def even_minibatch(minibatch: int, world_size: int, group_size: int) -> int:
    """The largest minibatch up to `minibatch` that each process can split into whole groups.

    A process with fewer images than `group_size` takes them all as one group.
    """
    share = minibatch // world_size
    if share == 0:
        raise ConfigError(f"a minibatch of {minibatch}", f"cannot feed {world_size} processes; use fewer")
    if share > group_size > 0:
        share -= share % group_size
    return share * world_size


def _values_for(world_size: int, by_world_size: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The changes for this many processes, or for the next smaller published number."""
    if not by_world_size:
        return {}
    nearest = max(size for size in map(int, by_world_size) if size <= world_size)
    if nearest != world_size:
        log.info(
            f"{name}: nothing was published for {world_size} processes; takes the minibatches of {nearest}"
        )
    values: Mapping[str, Any] = by_world_size[str(nearest)]
    return values


def _preset_names() -> list[str]:
    files = (file.name for file in (resources.files("trainer") / "presets").iterdir())
    return sorted(name[:-5] for name in files if name.endswith(".toml") and not name.startswith("_"))


def _load(name: str) -> dict[str, Any]:
    """The file's values on top of those that it extends."""
    file = resources.files("trainer") / "presets" / f"{name}.toml"
    values = tomllib.loads(file.read_text(encoding="utf-8"))
    return _merge(_load(values["extends"]), values) if "extends" in values else values


def _merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` on top: sections are merged, fields (tables among them) replaced."""
    merged = dict(values)
    for name, change in changes.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(change, Mapping):
            merged[name] = {**old, **change}
        else:
            merged[name] = change
    return merged


def _no_such(name: str, known: Iterable[str]) -> str:
    near = nearest_name(name, known)
    return "there is none; " + (f"did you mean {near}?" if near else f"known are {', '.join(known)}")
