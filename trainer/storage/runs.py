"""A run's folder: `OUTDIR/00000-NAME` with its configuration, data, states, snapshots and figures."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from celebahq.errors import ToolError
from celebahq.files import append_jsonl, atomic_folder, make_folder, read_json, read_jsonl, write_json
from celebahq.pyramid import PyramidReader
from trainer.configuration.config import TrainingConfig
from trainer.configuration.settings import load_config, save_config, to_dict

CONFIG = "config.json"
DATA = "data.json"
HISTORY = "history.jsonl"
LOCK = "lock"
REALS = "reals.png"
REALS_CACHE = "reals.swd.safetensors"
DIGEST_IMAGES = 1000


@dataclass(frozen=True)
class Run:
    """An opened run folder."""

    folder: Path
    config: TrainingConfig
    data: Path
    identity: str | None = None
    """What its states say whose they are, see `run_identity`; None for runs of earlier versions."""


def create_run(outdir: Path, config: TrainingConfig, data: Path, identity: str) -> Run:
    """Make the next free `OUTDIR/NNNNN-NAME`, with what the run is made of in it."""
    make_folder(outdir)
    folder = outdir / f"{max((number for number, _ in runs(outdir)), default=-1) + 1:05d}-{config.name}"
    with atomic_folder(folder) as partial:
        save_config(config, partial / CONFIG)
        write_json(partial / DATA, {"path": str(data.resolve()), "run": identity, **describe_data(data)})
    return Run(folder, config, data, identity)


def run_identity(config: TrainingConfig, data: Path, weights: Mapping[str, Tensor]) -> str:
    """What tells a run from others: how it is trained, with what, and beginning where.

    Args:
        config: As it was asked for, before the machine had a say in it.
        data: A pyramid file.
        weights: Of the generator at the start.
    """
    digest = hashlib.sha256(json.dumps([to_dict(config), describe_data(data)], sort_keys=True).encode())
    for weight in weights.values():
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def runs(outdir: Path) -> list[tuple[int, Path]]:
    """The folders `NNNNN-NAME`, by number."""
    if not outdir.is_dir():
        return []
    found = ((re.fullmatch(r"(\d{5})-.+", path.name), path) for path in outdir.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match and path.suffix != ".partial")


def newest_run(outdir: Path, name: str) -> Path | None:
    """The newest run of a name in a folder."""
    named = [path for _, path in runs(outdir) if path.name[6:] == name]
    return named[-1] if named else None


def remember(folder: Path, event: str, **facts: Any) -> None:
    """Add a line to a run's history."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    append_jsonl(folder / HISTORY, {"time": now, "event": event, **facts})


def forget_reals(folder: Path) -> None:
    """Remove what was made of the data for another resolution or number of images; it is made again."""
    for name in (REALS, REALS_CACHE):
        (folder / name).unlink(missing_ok=True)


def history(folder: Path) -> list[dict[str, Any]]:
    """What has happened to a run: begun, resumed, changed."""
    path = folder / HISTORY
    return read_jsonl(path) if path.exists() else []


def open_run(folder: Path, data: Path | None = None) -> Run:
    """Open a run to continue or evaluate it.

    Args:
        folder: `OUTDIR/NNNNN-NAME`.
        data: Where the pyramid lies now, if it was moved.

    Raises:
        ToolError: Not a run folder, or the data are not those that the run was started with.
    """
    if not (folder / CONFIG).is_file():
        raise ToolError(folder, f"not a run folder, it has no {CONFIG}")
    recorded = read_json(folder / DATA)
    path = data or Path(recorded.pop("path"))
    recorded.pop("path", None)
    identity = recorded.pop("run", None)
    if not path.exists():
        raise ToolError(path, "the run's data are not there; say where they are with --data FILE.h5")
    found = describe_data(path)
    if found != recorded:
        names = [name for name in {**found, **recorded} if found.get(name) != recorded.get(name)]
        differences = "; ".join(f"{name} {found.get(name)}, the run's {recorded.get(name)}" for name in names)
        raise ToolError(path, f"not the data of {folder}: {differences}")
    return Run(folder, load_config(folder / CONFIG), path, identity)


def describe_data(path: Path) -> dict[str, Any]:
    """Facts by which a run knows its data again; the digest is of the first images at 4x4."""
    with PyramidReader(path) as reader:
        labels = reader.labels
        first = reader.read(np.arange(min(len(reader), DIGEST_IMAGES)), 4)
        return {
            "images": len(reader),
            "resolution": reader.resolution,
            "channels": reader.channels,
            "label_size": 0 if labels is None else int(labels.shape[1]),
            "sha256_4x4": hashlib.sha256(first.tobytes()).hexdigest(),
        }
