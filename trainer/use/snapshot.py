"""A trained generator: saved, loaded again, and turned into images."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from celebahq.errors import FormatError, ToolError
from trainer.configuration.config import ConfigError, TrainingConfig
from trainer.configuration.settings import from_dict, to_dict
from trainer.networks.backends import prepare_inference
from trainer.networks.models import build_generator
from trainer.networks.progressive import Generator
from trainer.randomness import Stream, keyed_choice, keyed_normal
from trainer.storage.checkpoint import SNAPSHOT_FORMAT, read_tensors, snapshots, write_tensors
from trainer.use.grids import to_uint8


@dataclass(frozen=True)
class Snapshot:
    """The averaged generator of a run at one moment, ready to use."""

    generator: Generator
    config: TrainingConfig
    nimg: int
    lod: float
    label_rows: Tensor | None
    """`[M, label_size]`, rows of the training data."""

    @property
    def resolution(self) -> int:
        """Side of the images at the snapshot's level of detail."""
        return self.config.schedule.resolution >> int(self.lod)

    @property
    def device(self) -> torch.device:
        """Where the generator is."""
        return next(self.generator.parameters()).device

    def latents(self, seed: int, indices: Iterable[int]) -> Tensor:
        """The latents of these images, `[n, latent_size]` float32 from N(0, 1)."""
        size = self.config.generator.latent_size
        drawn = keyed_normal(seed, Stream.GENERATE, np.fromiter(indices, dtype=np.int64), size)
        return torch.from_numpy(drawn).to(self.device)

    def labels(self, seed: int, indices: Iterable[int]) -> Tensor | None:
        """The labels of these images, drawn from the training data's rows: `[n, label_size]` or None."""
        if self.label_rows is None:
            return None
        positions = np.fromiter(indices, dtype=np.int64)
        rows = keyed_choice(seed, Stream.GENERATE_LABELS, positions, len(self.label_rows))
        return self.label_rows[torch.from_numpy(rows)].to(self.device)

    def of_class(self, number: int) -> "Snapshot":
        """The same generator, for images of one class.

        Raises:
            ToolError: It has no classes, or not so many.
        """
        classes = self.config.generator.label_size
        if not 0 <= number < classes:
            known = f"its classes are 0 to {classes - 1}" if classes else "the generator knows no classes"
            raise ToolError(f"class {number}", known)
        return replace(self, label_rows=torch.eye(classes)[number : number + 1])

    @torch.no_grad()
    def generate(self, seed: int, indices: Iterable[int]) -> Tensor:
        """Images number `indices` of a seed.

        The network always runs on blocks of the same size, image i in row i mod size of block i div size:
        convolutions and matrix products may round differently for another number of images, so this is what
        makes an image the same however many are asked for.

        Args:
            seed: Key of all images.
            indices: Which of them; not negative.

        Returns:
            `[n, C, r, r]` uint8, on the CPU.
        """
        wanted = np.fromiter(indices, dtype=np.int64)
        channels, r = self.config.generator.channels, self.resolution
        images = torch.empty((len(wanted), channels, r, r), dtype=torch.uint8)
        size = block_size(r)
        for block in np.unique(wanted // size):
            rows = range(block * size, (block + 1) * size)
            fakes = self.generator(self.latents(seed, rows), self.labels(seed, rows), self.lod)
            here = np.flatnonzero(wanted // size == block)
            images[here] = to_uint8(fakes).cpu()[wanted[here] % size]
        return images


def block_size(resolution: int) -> int:
    """Images that `Snapshot.generate` computes together; part of what an image is."""
    return max(1, min(8, 2048 // resolution))


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot, atomically."""
    parts = {"Gs": snapshot.generator.state_dict()}
    if snapshot.label_rows is not None:
        parts["labels"] = {"rows": snapshot.label_rows}
    facts = {"config": to_dict(snapshot.config), "nimg": snapshot.nimg, "lod": snapshot.lod}
    write_tensors(path, SNAPSHOT_FORMAT, parts, facts)


def load_snapshot(path: str | Path, device: str | torch.device = "cpu") -> Snapshot:
    """Read a snapshot file, or the newest snapshot of a run folder.

    Raises:
        ToolError: There is no such file, or the folder holds no snapshot.
        FormatError: The file is not a snapshot, or damaged.
    """
    file = find_snapshot(Path(path))
    content = read_tensors(file, SNAPSHOT_FORMAT)
    try:
        values = content.facts["config"]
        if not isinstance(values, dict):
            raise TypeError("its configuration is no table")
        config = from_dict(TrainingConfig, values)
        nimg, lod = int(content.facts["nimg"]), float(content.facts["lod"])
        with torch.device("meta"):  # no memory before the sizes are known to be those of the weights
            expected = {name: tensor.shape for name, tensor in build_generator(config).state_dict().items()}
    except (ConfigError, KeyError, TypeError, ValueError) as err:
        raise FormatError(file, f"damaged: not the facts of a snapshot ({err})") from err
    weights = content.part("Gs")
    if {name: tensor.shape for name, tensor in weights.items()} != expected:
        raise FormatError(file, "damaged: its weights are not those of its configuration")
    if not 0 <= lod < config.schedule.resolution.bit_length():
        raise FormatError(file, f"damaged: level of detail {lod}")
    generator = build_generator(config)
    generator.load_state_dict(weights)
    generator.eval().requires_grad_(False).to(device)
    return Snapshot(generator, config, nimg, lod, content.tensors.get("labels.rows"))


def open_snapshot(path: Path, device: torch.device) -> Snapshot:
    """`load_snapshot`, with PyTorch's switches set for it: what the commands use."""
    snapshot = load_snapshot(path, device)
    prepare_inference(snapshot.config.runtime)
    return snapshot


def find_snapshot(path: Path) -> Path:
    """The file itself, or the newest snapshot of a run folder."""
    if not path.is_dir():
        return path
    return all_snapshots(path)[-1]


def all_snapshots(run: Path) -> list[Path]:
    """Those of a run folder, the oldest first.

    Raises:
        ToolError: There are none.
    """
    found = snapshots(run)
    if not found:
        raise ToolError(run, "holds no snapshots/snapshot-*.safetensors")
    return found
