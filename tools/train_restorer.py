"""Train a restoration network from a folder of images.

The two files that the package ships come from these commands, in this order. TRAIN is a folder with
photographs, searched with its subfolders. The cards say how far each run came, on which degradations, how
large jpeg was then, and which means of weights the fourth and fifth begin with (mean.safetensors). To train
a shipped network on, give its file as --init.

\b
    python tools/train_restorer.py jpeg --images TRAIN --minutes 86 --out first.safetensors
    python tools/train_restorer.py jpeg --images TRAIN --minutes 80 --out second.safetensors \\
        --init first.safetensors --rate 1.2e-4 --patch 96 --batch 6
    python tools/train_restorer.py jpeg --images TRAIN --minutes 103 --out third.safetensors \\
        --init second.safetensors --rate 2e-4 --patch 96 --batch 6
    python tools/train_restorer.py jpeg --images TRAIN --minutes 102 --out fourth.safetensors --seed 1 \\
        --init mean.safetensors --rate 2e-4 --patch 96 --batch 6
    python tools/train_restorer.py jpeg --images TRAIN --minutes 108 --out fifth.safetensors --seed 2 \\
        --init mean.safetensors --rate 2e-4 --patch 96 --batch 6
    python tools/train_restorer.py sr4x --images TRAIN --minutes 87 --out sr4x.safetensors

The learning rate follows the time (or the steps) that there is: short warm-up, then a cosine to zero at
the end. Killed and started again, a run continues from its last checkpoint; started again with more
minutes or steps, a finished run goes on. Batches are made ahead by --loaders threads: beside a GPU give it
as many as there are processors, and a larger --batch and --patch.
"""

import itertools
import math
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from celebahq.arguments import device_option, seed_option
from celebahq.console import resolve_device, status
from celebahq.errors import ToolError
from celebahq.files import append_jsonl, atomic_path
from celebahq.pictures.decoding import load_photo
from celebahq.pictures.suffixes import SUFFIXES
from celebahq.restore.checkpoints import load_network, save_network
from celebahq.restore.degrade import Photo, bicubic_reduce, jpeg_pair, turn
from celebahq.restore.infer import native_dtype
from celebahq.restore.networks import Network, RedNet, SrResNet, grow
from celebahq.threads import ordered_map

HALVED_FROM_PX = 640  # photos with a shorter side from here on are halved: clean targets from JPEGs
SMALLEST_PX = 256
SMALLEST_BATCH = 2
"""PyTorch sends one small image alone to a kernel whose sums over threads have no fixed order: a stopped and
continued run would end in other bits."""
WARMUP_STEPS = 200
EMA_DECAY = 0.999


@dataclass(frozen=True)
class Recipe:
    """What one kind of restorer is trained with."""

    batch: int
    patch: int
    """Side of a training patch in input pixels."""
    rate: float
    """Highest learning rate of Adam."""
    clip_norm: float
    """Longest gradient; longer ones are shortened."""
    eps: tuple[float, float]
    """Errors (of 0..1) below which the pixel loss is quadratic, at the beginning and at the end of the run.
    Where many pixels are nearly clean, a small one would let them drown the gradient of those that can be
    improved; a large one would let a network take liberties with clean pictures."""


RECIPES = {
    "jpeg": Recipe(batch=8, patch=64, rate=3e-4, clip_norm=0.1, eps=(1e-2, 1e-3)),
    "sr4x": Recipe(batch=8, patch=32, rate=1e-3, clip_norm=1.0, eps=(1e-6, 1e-6)),
}


def load_images(folder: Path) -> list[Photo]:
    """Decode every picture under a folder, in name order, large ones halved: `(H, W, 3)` uint8 RGB."""
    images = []
    for path in sorted(p for p in folder.rglob("*") if p.name.lower().endswith(SUFFIXES)):
        picture = Image.fromarray(load_photo(path, orient=False))
        if min(picture.size) >= HALVED_FROM_PX:
            picture = picture.reduce(2)
        if min(picture.size) >= SMALLEST_PX:
            images.append(np.asarray(picture))
    if not images:
        raise ToolError(f"{folder}: no picture of at least {SMALLEST_PX} px in it")
    return images


class Patches:
    """Pairs of training patches; each batch is a function of (seed, step) alone."""

    def __init__(self, kind: str, images: list[Photo], batch: int, patch: int, seed: int) -> None:
        self.batch, self.patch, self.seed = batch, patch, seed
        self.super_resolution = kind != "jpeg"
        self.images = images
        if self.super_resolution:
            self.images = [image[: len(image) // 4 * 4, : image.shape[1] // 4 * 4] for image in images]
            self.reduced = [bicubic_reduce(image, 4) for image in self.images]
        sizes = np.array([image.size for image in images], dtype=np.float64)
        self.chances = sizes / sizes.sum()  # every pixel is as likely as any other

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs `[N, 3, P, P]` and targets `[N, 3, sP, sP]` of one step, uint8."""
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.choice(len(self.images), size=self.batch, p=self.chances)
        pairs = [self._pair(int(index), rng) for index in chosen]
        return stack([pair[0] for pair in pairs]), stack([pair[1] for pair in pairs])

    def _pair(self, index: int, rng: np.random.Generator) -> tuple[Photo, Photo]:
        if not self.super_resolution:
            return jpeg_pair(self.images[index], self.patch, rng)
        small, patch = self.reduced[index], self.patch
        y = int(rng.integers(0, small.shape[0] - patch + 1))
        x = int(rng.integers(0, small.shape[1] - patch + 1))
        large = self.images[index][4 * y : 4 * (y + patch), 4 * x : 4 * (x + patch)]
        key = int(rng.integers(2**32))  # the pair turns together
        return (
            turn(small[y : y + patch, x : x + patch], np.random.default_rng(key)),
            turn(large, np.random.default_rng(key)),
        )


def stack(photos: list[Photo]) -> Tensor:
    """HWC pictures as one channels-last `[N, C, H, W]` uint8 tensor."""
    return torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2)


def rate_factor(step: int, progress: float) -> float:
    """Factor on the learning rate: linear warm-up over steps, cosine to zero over 0..1 of the run."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def pixel_loss(outputs: Tensor, targets: Tensor, eps: float) -> Tensor:
    """Charbonnier's smooth form of the mean absolute error, quadratic below `eps`."""
    return ((outputs - targets).square() + eps**2).sqrt().mean() - eps


def begin_with(loaded: Network, fresh: Network, path: Path) -> Network:
    """The loaded network, or, where it is smaller than a fresh one, the fresh one grown from it.

    Raises:
        ToolError: They do not fit each other.
    """
    if (type(loaded), loaded.config) == (type(fresh), fresh.config):
        return loaded
    if isinstance(loaded, RedNet) and isinstance(fresh, RedNet):
        try:
            grow(loaded, fresh)
        except ValueError as err:
            raise ToolError(f"{path}: cannot be grown to today's network: {err}") from err
        return fresh
    raise ToolError(f"{path}: a {type(loaded).__name__} {loaded.config}, not a {type(fresh).__name__}")


class Training:
    """A run: the network, its average, the optimizer, and how far it is."""

    def __init__(
        self, kind: str, recipe: Recipe, seed: int, device: torch.device, init: Path | None = None
    ) -> None:
        self.kind, self.recipe, self.seed, self.device = kind, recipe, seed, device
        torch.manual_seed(seed)
        self.net = self._network(init).train().requires_grad_(True)
        self.average = self._network(None).eval().requires_grad_(False)
        self.average.load_state_dict(self.net.state_dict())
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=recipe.rate, fused=True)
        self.step, self.elapsed_sec = 0, 0.0

    def _network(self, init: Path | None) -> Network:
        network: Network = RedNet() if self.kind == "jpeg" else SrResNet()
        if init:
            network = begin_with(load_network(init), network, init)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network.to(self.device)

    def advance(self, inputs: Tensor, targets: Tensor, progress: float) -> float:
        """One optimizer step on uint8 patches; gives the loss."""
        inputs, targets = (
            images.to(self.device).float().div_(255).contiguous(memory_format=torch.channels_last)
            for images in (inputs, targets)
        )
        factor = rate_factor(self.step, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * factor

        dtype = native_dtype(self.device)
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            outputs = self.net(inputs).float()
        first, last = self.recipe.eps
        loss = pixel_loss(outputs, targets, first * (last / first) ** progress)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()

        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.net.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        self.step += 1
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "kind": self.kind,
            "seed": self.seed,
            "step": self.step,
            "elapsed_sec": self.elapsed_sec,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        if (state["kind"], state["seed"]) != (self.kind, self.seed):
            raise ToolError(
                f"the checkpoint is of {state['kind']} with seed {state['seed']}, not of this run"
            )
        self.step, self.elapsed_sec = state["step"], state["elapsed_sec"]
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def save(self, out: Path, images: int) -> None:
        """Write the averaged weights to `out` and the whole state beside it."""
        facts: dict[str, str | int | float]
        facts = {"name": self.kind, "step": self.step, "seed": self.seed, "images": images}
        facts["elapsed_sec"] = round(self.elapsed_sec)
        with atomic_path(state_path(out)) as partial:
            torch.save(self.state(), partial)
        save_network(out, self.average, facts)


def state_path(out: Path) -> Path:
    """Where a run that writes `out` keeps its training state."""
    return out.with_suffix(".state.pt")


def train(
    training: Training,
    patches: Patches,
    *,
    steps: int | None,
    minutes: float | None,
    every_sec: float,
    loaders: int = 1,
) -> Iterator[tuple[bool, float]]:
    """Run to the end; after each step yields whether a checkpoint is due and the loss.

    The schedule is planned backwards from `steps`, or from `minutes` of training time, earlier runs included.
    Batches are made ahead by as many threads as there are `loaders`.
    """
    last_save = time.monotonic()
    with closing(ordered_map(patches.at, itertools.count(training.step), loaders)) as batches:
        while True:
            start = time.monotonic()
            progress = training.step / steps if steps else training.elapsed_sec / (60 * (minutes or 0))
            if progress >= 1:
                return
            loss = training.advance(*next(batches), progress)
            training.elapsed_sec += time.monotonic() - start
            due = time.monotonic() - last_save >= every_sec
            if due:
                last_save = time.monotonic()
            yield due, loss


@click.command(help=__doc__)
@click.argument("kind", type=click.Choice(list(RECIPES)))
@click.option(
    "--images", "folder", type=click.Path(exists=True, path_type=Path), required=True, metavar="DIR"
)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE.safetensors")
@click.option("--steps", type=click.IntRange(min=1), help="Length of the run.")
@click.option("--minutes", type=float, help="Length of the run as training time.")
@click.option("--batch", type=click.IntRange(min=SMALLEST_BATCH), help="Patches per step.")
@click.option("--patch", type=click.IntRange(min=16), help="Side of a patch in input pixels.")
@click.option("--rate", type=float, help="Highest learning rate.")
@click.option("--init", type=click.Path(exists=True, path_type=Path), help="Weights to start from.")
@click.option("--checkpoint-sec", type=float, default=180, show_default=True, metavar="SEC")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of PyTorch.")
@click.option("--loaders", type=click.IntRange(min=1), default=1, show_default=True, help="Threads for JPEG.")
@device_option
@seed_option
def main(
    kind: str,
    folder: Path,
    out: Path,
    steps: int | None,
    minutes: float | None,
    batch: int | None,
    patch: int | None,
    rate: float | None,
    init: Path | None,
    checkpoint_sec: float,
    threads: int,
    loaders: int,
    device: str,
    seed: int,
) -> None:
    """Read the options, then run and save."""
    if (steps is None) == (minutes is None):
        raise click.UsageError("give either --steps or --minutes")
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    given: dict[str, Any] = {"batch": batch, "patch": patch, "rate": rate}
    recipe = replace(RECIPES[kind], **{name: value for name, value in given.items() if value is not None})
    images = load_images(folder)
    training = Training(kind, recipe, seed, resolve_device(device), init)
    if state_path(out).exists():
        training.restore(torch.load(state_path(out), map_location=training.device, weights_only=True))
        status(f"{out}: continuing at step {training.step:,}")
    patches = Patches(kind, images, recipe.batch, recipe.patch, seed)
    weights = sum(parameter.numel() for parameter in training.net.parameters())
    status(f"{kind}: {len(images)} images, {recipe}, {weights:,} weights")

    losses: list[float] = []
    run = train(training, patches, steps=steps, minutes=minutes, every_sec=checkpoint_sec, loaders=loaders)
    for due, loss in run:
        losses.append(loss)
        if due:
            training.save(out, len(images))
            record = {"step": training.step, "elapsed_sec": round(training.elapsed_sec, 1)}
            record["pixels"] = round(sum(losses) / len(losses), 6)
            append_jsonl(out.with_suffix(".log.jsonl"), record)
            status(f"{kind}: {record}")
            losses.clear()
    training.save(out, len(images))
    status(f"{kind}: done at step {training.step:,} after {training.elapsed_sec / 60:.1f} minutes")


if __name__ == "__main__":
    try:
        main()
    except ToolError as err:
        sys.exit(f"train_restorer: {err}")
