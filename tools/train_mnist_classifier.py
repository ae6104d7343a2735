"""Train the digit classifier with which `trainer modes` counts modes: a few minutes on a CPU.

\b
    celebahq import mnist MNIST_DIR -o mnist.h5
    python tools/train_mnist_classifier.py mnist.h5 --out digits.safetensors

Every tenth digit is kept out of training; the share of those read rightly is printed and stored in the file.
"""

from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from celebahq.arguments import FILE, NEW_PATH, device_option, seed_option
from celebahq.console import Progress, resolve_device, status
from celebahq.errors import ToolError
from celebahq.files import refuse_existing
from celebahq.pyramid import PyramidReader
from trainer.use.modes import DigitClassifier, save_classifier

BATCH = 128
HIGHEST_RATE = 2e-3
LARGEST_SHIFT_PX = 2


@click.command()
@click.argument("data", type=FILE)
@click.option("--out", type=NEW_PATH, required=True, metavar="FILE.safetensors")
@click.option("--epochs", type=click.IntRange(min=1), default=5, show_default=True)
@seed_option
@device_option
def main(data: Path, out: Path, epochs: int, seed: int, device: str) -> None:
    """Train on DATA, a pyramid made by `celebahq import mnist`.

    \b
    python tools/train_mnist_classifier.py mnist.h5 --out digits.safetensors
    """
    refuse_existing(out)
    torch_device = resolve_device(device)
    digits, labels = read_digits(data, torch_device)
    held_out = torch.arange(len(digits), device=torch_device) % 10 == 9
    classifier = train(digits[~held_out], labels[~held_out], epochs, seed, torch_device)
    accuracy = measure(classifier, digits[held_out], labels[held_out])
    save_classifier(out, classifier, {"accuracy": accuracy, "epochs": epochs, "seed": seed})
    status(f"{out}: {accuracy:.2%} of {int(held_out.sum()):,} digits that it was not trained on read rightly")


def read_digits(path: Path, device: torch.device) -> tuple[Tensor, Tensor]:
    """All digits `[N, 1, 32, 32]` uint8 and their numbers `[N]`."""
    with PyramidReader(path) as reader:
        if (reader.channels, reader.resolution) != (1, 32) or reader.labels is None:
            raise ToolError(f"{path}: expected labelled grey 32x32 digits, as `celebahq import mnist` makes")
        digits = torch.from_numpy(reader.read(np.arange(len(reader)), 32)).to(device)
        return digits, torch.from_numpy(np.asarray(reader.labels).argmax(axis=1)).to(device)


def train(digits: Tensor, labels: Tensor, epochs: int, seed: int, device: torch.device) -> DigitClassifier:
    """Adam with a triangular learning rate, on digits shifted by up to two pixels."""
    torch.manual_seed(seed)
    classifier = DigitClassifier().to(device)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=HIGHEST_RATE)
    steps = epochs * (len(digits) // BATCH)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, HIGHEST_RATE, total_steps=steps)
    rng = np.random.default_rng(seed)
    with Progress("digits", steps * BATCH) as progress:
        for step in range(steps):
            if step % (len(digits) // BATCH) == 0:
                order = torch.from_numpy(rng.permutation(len(digits))).to(device)
                start = 0
            rows = order[start : start + BATCH]
            start += BATCH
            shift = tuple(rng.integers(-LARGEST_SHIFT_PX, LARGEST_SHIFT_PX + 1, size=2).tolist())
            loss = F.cross_entropy(classifier(digits[rows].roll(shift, dims=(2, 3))), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            progress.advance(BATCH)
    return classifier.eval()


@torch.no_grad()
def measure(classifier: DigitClassifier, digits: Tensor, labels: Tensor) -> float:
    """The share of digits that are read rightly."""
    right = sum(
        int((classifier(digits[rows]).argmax(dim=1) == labels[rows]).sum())
        for rows in torch.arange(len(digits)).chunk(max(len(digits) // 1000, 1))
    )
    return right / len(digits)


if __name__ == "__main__":
    main()
