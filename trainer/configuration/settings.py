"""Configurations from and to dictionaries and JSON, and typed overrides like `train.total_kimg=100`."""

import dataclasses
import difflib
import reprlib
import tomllib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from celebahq.files import read_json, write_json
from trainer.configuration.config import ConfigError, TrainingConfig

T = TypeVar("T")

# Facts of the data that several sections must agree on: set once, they apply to every section that has them.
SHARED_FIELDS = ("resolution", "channels", "label_size")


def from_dict(config_class: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Build a configuration dataclass from nested dictionaries, checking names and types.

    Raises:
        ConfigError: An unknown name (with the nearest known one) or a value of the wrong type.
    """
    hints = get_type_hints(config_class)
    arguments = {}
    for name, value in values.items():
        if name not in hints:
            raise _unknown(prefix + name, [prefix + known for known in hints])
        arguments[name] = _coerce(value, hints[name], prefix + name)
    return config_class(**arguments)


def to_dict(config: Any) -> dict[str, Any]:
    """Nested dictionaries of plain JSON values; integer keys become strings."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def override(config: TrainingConfig, assignments: Iterable[str]) -> TrainingConfig:
    """Change fields by `section.field=value`, the values in TOML syntax (bare words are strings).

    `resolution=64`, `channels=1` and `label_size=10` reach every section that has them;
    `schedule.minibatch_by_resolution.1024=8` changes one entry of a table.

    Raises:
        ConfigError: No such field (names the nearest), or a value of the wrong type.
    """
    values = to_dict(config)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(assignment, "write it as FIELD=VALUE, for example train.total_kimg=100")
        _assign(values, path.strip(), _parse_value(text.strip()))
    return from_dict(TrainingConfig, values)


def share_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Move the shared fields of the top level into every section that has them."""
    spread = {name: dict(part) if isinstance(part, Mapping) else part for name, part in values.items()}
    for name in SHARED_FIELDS:
        if name in spread:
            value = spread.pop(name)
            for section in _sections_with(name):
                spread.setdefault(section, {})[name] = value
    return spread


def save_config(config: TrainingConfig, path: Path) -> None:
    """Write the resolved configuration as JSON."""
    write_json(path, to_dict(config))


def load_config(path: Path) -> TrainingConfig:
    """Read a configuration written by `save_config`.

    Raises:
        ToolError: The file is not a JSON object.
        ConfigError: It holds unknown or mistyped fields.
    """
    values = read_json(path)
    try:
        return from_dict(TrainingConfig, values)
    except ConfigError as err:
        raise ConfigError(path, str(err)) from err


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, dict):
        return {str(key): entry for key, entry in value.items()}
    return value


def _assign(values: dict[str, Any], path: str, value: Any) -> None:
    if path in SHARED_FIELDS:
        for section in _sections_with(path):
            values[section][path] = value
        return
    *parents, last = path.split(".")
    target = values
    for name in parents:
        if not isinstance(target.get(name), dict):
            raise _unknown(path, _known_paths())
        target = target[name]
    if last not in target and not _is_table(".".join(parents)):
        raise _unknown(path, _known_paths())
    target[last] = value


def _parse_value(text: str) -> Any:
    """A TOML value; what is none, is taken as a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # not TOML; too many digits; too deep
        return text


def _coerce(value: Any, hint: Any, name: str) -> Any:
    """`value` as the type that `hint` asks for; only lossless steps (2 to 2.0, "64" to the key 64)."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return from_dict(hint, value, prefix=name + ".")
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        for option in get_args(hint):
            try:
                return _coerce(value, option, name)
            except ConfigError:
                continue
    elif origin is Literal:
        if value in get_args(hint) and not isinstance(value, bool):
            return value
    elif origin is dict and isinstance(value, Mapping):
        return {
            _table_key(key, name): _coerce(entry, get_args(hint)[1], f"{name}.{key}")
            for key, entry in value.items()
        }
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) < 1e300:  # neither infinite nor NaN
            return float(value)
    elif isinstance(hint, type) and type(value) is hint:
        return value
    raise ConfigError(f"{name} = {reprlib.repr(value)}", f"must be {_type_text(hint)}")


def _table_key(key: Any, name: str) -> int:
    try:
        return int(key)
    except ValueError:
        raise ConfigError(f"{name}.{key}", "the keys of this table are resolutions, such as 64") from None


def _type_text(hint: Any) -> str:
    words = {
        bool: "true or false",
        int: "an integer",
        float: "a finite number",
        str: "a string",
        type(None): "nothing",
    }
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_type_text(option) for option in get_args(hint))
    if origin is Literal:
        return " or ".join(repr(option) for option in get_args(hint))
    if origin is dict:
        return "a table {resolution = value, ...}"
    return words.get(hint, "a section")


def _sections() -> dict[str, Any]:
    hints = get_type_hints(TrainingConfig)
    return {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}


def _sections_with(name: str) -> list[str]:
    return [section for section, hint in _sections().items() if name in get_type_hints(hint)]


def _is_table(path: str) -> bool:
    section, _, name = path.partition(".")
    hints = get_type_hints(_sections()[section]) if section in _sections() else {}
    return get_origin(hints.get(name)) is dict


def _known_paths() -> list[str]:
    sections = _sections()
    inner = [f"{section}.{name}" for section, hint in sections.items() for name in get_type_hints(hint)]
    outer = [name for name in get_type_hints(TrainingConfig) if name not in sections]
    return [*inner, *outer, *SHARED_FIELDS]


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known dotted name that `name` probably means.

    The last part is what people remember: `total_kimg` and `trian.total_kimg` both find train.total_kimg.
    """
    names = list(known)
    by_last = {path.rpartition(".")[2]: path for path in names}
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    close_last = difflib.get_close_matches(name.rpartition(".")[2], by_last, n=1)
    return close[0] if close else by_last[close_last[0]] if close_last else None


def _unknown(name: str, known: list[str]) -> ConfigError:
    near = nearest_name(name, known)
    hint = f"did you mean {near}?" if near else f"known are {', '.join(known)}"
    return ConfigError(name, f"no such field; {hint}")
