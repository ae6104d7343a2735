"""What a job was begun with: it is continued with the same, or not at all."""

import hashlib
import json
from pathlib import Path
from typing import Any

from celebahq.errors import ToolError
from celebahq.files import read_json, write_json


def digest_of(parameters: dict[str, Any]) -> str:
    """SHA-256 that tells a job from others."""
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()


def require_same(folder: Path, parameters: dict[str, Any]) -> None:
    """Write a job's parameters into its folder, or hold them against those that are there.

    Raises:
        ToolError: They differ; the message says in what.
    """
    path = folder / "job.json"
    now = json.loads(json.dumps(parameters))
    if not path.exists():
        write_json(path, now)
    before = read_json(path)
    changed = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
    if changed:
        differences = ", ".join(_difference(name, before.get(name), now.get(name)) for name in changed)
        raise ToolError(
            folder,
            f"holds a job begun with other parameters ({differences}); give the same ones to continue it, "
            "choose another output, or delete the folder to begin anew",
        )


def _difference(name: str, before: Any, now: Any) -> str:
    both = f"{name} was {before}, now {now}"
    return both if len(both) <= 80 else f"other {name}"  # checksums tell people nothing
