"""What a job was begun with: it is continued with the same, or not at all."""

import hashlib
import json
from pathlib import Path
from typing import Any

from celebahq.console import in_words
from celebahq.errors import ToolError
from celebahq.files import read_json, write_json

PARAMETERS = "job.json"


def digest_of(parameters: dict[str, Any]) -> str:
    """SHA-256 that tells a job from others."""
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()


def require_same(folder: Path, parameters: dict[str, Any]) -> None:
    """Write a job's parameters into its folder, or hold them against those that are there.

    Raises:
        ToolError: They differ; the message says in what.
    """
    path = folder / PARAMETERS
    if not path.exists():
        write_json(path, parameters)
    changed = changes(folder, parameters)
    if changed:
        raise ToolError(
            folder,
            f"holds a job begun with other parameters ({describe_changes(changed)}); give the same ones "
            "to continue it, choose another output, or delete the folder to begin anew",
        )


def changes(folder: Path, parameters: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """By name, what differs from the parameters in a folder: then and now. Nothing where there are none."""
    path = folder / PARAMETERS
    if not path.exists():
        return {}
    before, now = read_json(path), json.loads(json.dumps(parameters))
    names = sorted(now.keys() | before.keys())
    return {name: (before.get(name), now.get(name)) for name in names if now.get(name) != before.get(name)}


def describe_changes(changed: dict[str, tuple[Any, Any]]) -> str:
    """What `changes` found, for people."""
    return ", ".join(_difference(name, *values) for name, values in changed.items())


def _difference(name: str, before: Any, now: Any) -> str:
    both = f"{name} was {in_words(before)}, now {in_words(now)}"
    return both if len(both) <= 80 else f"other {name}"  # checksums tell people nothing
