"""How many of MNIST's 1,000 modes a generator hits [Karras et al. 2018, appendix D; Metz et al. 2016].

Each image is three digits, one per colour channel. A digit classifier reads the three, which gives one of
1,000 numbers.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from celebahq.errors import ToolError
from celebahq.jobs.progress import Progress, Stage, silent
from trainer.storage.checkpoint import read_tensors, write_tensors
from trainer.use.options import ModeCount
from trainer.use.snapshot import Snapshot

MODES = 1000
CLASSIFIER_FORMAT = "trainer-digit-classifier"
BATCH = 512


class DigitClassifier(nn.Module):
    """Four convolutions and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 16, 32, 32)
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )
        self.dense = nn.Linear(32 * 8 * 8, 10)

    def forward(self, digits: Tensor) -> Tensor:
        """`[N, 1, 32, 32]` uint8, the ink bright, to logits `[N, 10]`."""
        x = digits.to(torch.float32) / 127.5 - 1.0
        for index, conv in enumerate(self.convs):
            x = F.relu(conv(x))
            if index % 2 == 1:
                x = F.max_pool2d(x, 2)
        return cast(Tensor, self.dense(x.flatten(1)))


def save_classifier(path: Path, classifier: DigitClassifier, facts: dict[str, Any]) -> None:
    """Write a trained classifier."""
    write_tensors(path, CLASSIFIER_FORMAT, {"classifier": classifier.state_dict()}, facts)


def load_classifier(path: Path, device: torch.device) -> DigitClassifier:
    """Read a classifier that `tools/train_mnist_classifier.py` made.

    Raises:
        ToolError: No such file.
        FormatError: Another kind of file.
    """
    classifier = DigitClassifier()
    classifier.load_state_dict(read_tensors(path, CLASSIFIER_FORMAT).part("classifier"))
    return classifier.eval().requires_grad_(False).to(device)


@torch.no_grad()
def count_modes(images: Tensor, classifier: nn.Module) -> Tensor:
    """How many images show each number.

    Args:
        images: `[N, 3, 32, 32]` uint8.
        classifier: `[N, 1, 32, 32]` uint8 to logits `[N, 10]`.

    Returns:
        `[1000]` int64; red is the hundreds' digit, blue the ones'.
    """
    digits = torch.stack([classifier(images[:, c : c + 1]).argmax(dim=1) for c in range(3)], dim=1)  # [N, 3]
    numbers = (digits * torch.tensor([100, 10, 1], device=digits.device)).sum(dim=1)
    return torch.bincount(numbers, minlength=MODES)


def kl_from_uniform(counts: Tensor) -> float:
    """Kullback-Leibler divergence of the modes' distribution from the uniform one, 0 to log(1000) nats."""
    p = counts.to(torch.float64) / counts.sum()
    return float(torch.special.xlogy(p, p * len(counts)).sum())


@dataclass(frozen=True)
class ModeScore:
    """Means over the repeats, and the standard deviation between them."""

    samples: int
    repeats: int
    modes: float
    """Of 1,000, hit at least once."""
    modes_std: float
    kl: float
    """From the uniform distribution, in nats."""
    kl_std: float


def score_modes(
    snapshot: Snapshot,
    classifier: nn.Module,
    *,
    seed: int,
    count: ModeCount | None = None,
    progress: Progress = silent,
) -> ModeScore:
    """Generate `count.samples` images `count.repeats` times and count the modes of each.

    Raises:
        ToolError: The snapshot does not make 32x32 RGB images.
    """
    channels, resolution = snapshot.config.generator.channels, snapshot.resolution
    if (channels, resolution) != (3, 32):
        raise ToolError(
            "the snapshot",
            f"makes {resolution}x{resolution} images of {channels} channels; modes are counted on 32x32 RGB "
            "digits",
        )
    rows = []
    count = count or ModeCount()
    samples, total = count.samples, count.samples * count.repeats
    for start in range(0, total, samples):
        counts = torch.zeros(MODES, dtype=torch.int64, device=snapshot.device)
        for first in range(start, start + samples, BATCH):
            indices = range(first, min(first + BATCH, start + samples))
            counts += count_modes(snapshot.generate(seed, indices).to(snapshot.device), classifier)
            progress(Stage("modes", indices.stop, total))
        rows.append([float((counts > 0).sum()), kl_from_uniform(counts)])
    values = torch.tensor(rows, dtype=torch.float64)  # [repeats, 2]
    means, stds = values.mean(dim=0).tolist(), values.std(dim=0, correction=0).tolist()
    return ModeScore(samples, count.repeats, means[0], stds[0], means[1], stds[1])
