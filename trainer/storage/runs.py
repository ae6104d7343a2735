"""A run's folder: `OUTDIR/00000-NAME` with its configuration, data, states, snapshots and figures."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from celebahq.errors import ToolError
from celebahq.files import make_folder, read_json, write_json
from celebahq.pyramid import PyramidReader
from trainer.configuration.config import TrainingConfig
from trainer.configuration.settings import load_config, save_config

CONFIG = "config.json"
DATA = "data.json"
DIGEST_IMAGES = 1000


@dataclass(frozen=True)
class Run:
    """An opened run folder."""

    folder: Path
    config: TrainingConfig
    data: Path


def create_run(outdir: Path, config: TrainingConfig, data: Path) -> Run:
    """Make the next free `OUTDIR/NNNNN-NAME` and write what the run is made of."""
    make_folder(outdir)
    numbers = [int(match[1]) for path in outdir.iterdir() if (match := re.match(r"(\d{5})-", path.name))]
    folder = outdir / f"{max(numbers, default=-1) + 1:05d}-{config.name}"
    folder.mkdir()
    save_config(config, folder / CONFIG)
    write_json(folder / DATA, {"path": str(data.resolve()), **describe_data(data)})
    return Run(folder, config, data)


def open_run(folder: Path, data: Path | None = None) -> Run:
    """Open a run to continue or evaluate it.

    Args:
        folder: `OUTDIR/NNNNN-NAME`.
        data: Where the pyramid lies now, if it was moved.

    Raises:
        ToolError: Not a run folder, or the data are not those that the run was started with.
    """
    if not (folder / CONFIG).is_file():
        raise ToolError(f"{folder}: not a run folder, it has no {CONFIG}")
    recorded = read_json(folder / DATA)
    path = data or Path(recorded.pop("path"))
    recorded.pop("path", None)
    if not path.is_file():
        raise ToolError(f"{path}: the run's data are not there; say where they are with --data FILE.h5")
    found = describe_data(path)
    if found != recorded:
        raise ToolError(f"{path}: not the data of {folder}: found {found}, the run has {recorded}")
    return Run(folder, load_config(folder / CONFIG), path)


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
