"""Counting modes."""

import dataclasses
import json
import math

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from celebahq.errors import FormatError
from trainer.cli import main
from trainer.configuration.presets import preset
from trainer.configuration.settings import override
from trainer.networks.batchnorm import freeze_batch_statistics
from trainer.networks.models import build_generator
from trainer.use.modes import (
    DigitClassifier,
    count_modes,
    kl_from_uniform,
    load_classifier,
    save_classifier,
    score_modes,
)
from trainer.use.options import ModeCount
from trainer.use.snapshot import Snapshot, save_snapshot


class BrightnessReader(nn.Module):
    """Reads the digit d from a channel filled with the value 10 d."""

    def forward(self, digits):
        return torch.eye(10)[(digits.float().mean(dim=(1, 2, 3)) / 10).round().long().clamp(0, 9)]


@pytest.fixture
def snapshot():
    config = preset("mnist-rgb-1k")
    torch.manual_seed(0)
    generator = build_generator(config)
    freeze_batch_statistics(generator, [(torch.randn(100, 64), None)], 0.0)
    return Snapshot(generator, config, nimg=0, lod=0.0, label_rows=None)


def test_an_images_channels_are_the_digits_of_its_number():
    numbers = [0, 7, 42, 999, 999, 123]
    digits = torch.tensor([[n // 100, n // 10 % 10, n % 10] for n in numbers])
    images = (10 * digits)[:, :, None, None].expand(-1, -1, 32, 32).to(torch.uint8)
    counts = count_modes(images, BrightnessReader())
    assert counts.shape == (1000,)
    assert {n: int(counts[n]) for n in counts.nonzero()[:, 0].tolist()} == {0: 1, 7: 1, 42: 1, 123: 1, 999: 2}


@pytest.mark.parametrize(
    ("counts", "kl"),
    [
        (torch.full((1000,), 25), 0.0),
        (torch.eye(1000)[3] * 50, math.log(1000)),
        (torch.cat([torch.ones(500), torch.zeros(500)]), math.log(2)),
        (torch.tensor([3, 1] + [0] * 998), 0.75 * math.log(750) + 0.25 * math.log(250)),
    ],
)
def test_divergence_from_uniform(counts, kl):
    assert kl_from_uniform(counts) == pytest.approx(kl, abs=1e-12)


def test_the_score_is_over_fresh_images_of_each_repeat(snapshot):
    classifier = DigitClassifier().eval()
    score = score_modes(snapshot, classifier, seed=1, count=ModeCount(40, 3))
    rows = [count_modes(snapshot.generate(1, range(start, start + 40)), classifier) for start in (0, 40, 80)]
    modes = torch.tensor([float((row > 0).sum()) for row in rows], dtype=torch.float64)
    assert (score.modes, score.modes_std) == pytest.approx(
        (modes.mean().item(), modes.std(correction=0).item())
    )
    assert score.kl == pytest.approx(sum(map(kl_from_uniform, rows)) / 3)


def test_the_command_reports_the_same_as_the_function(snapshot, tmp_path):
    classifier = DigitClassifier().eval()
    save_snapshot(tmp_path / "snapshot.safetensors", snapshot)
    save_classifier(tmp_path / "digits.safetensors", classifier, {"accuracy": 0.1})
    arguments = [str(tmp_path / "snapshot.safetensors"), "--classifier", str(tmp_path / "digits.safetensors")]
    options = ["--samples", "40", "--repeats", "3", "--seed", "1", "--device", "cpu", "--json"]
    result = CliRunner().invoke(main, ["modes", *arguments, *options])
    assert result.exit_code == 0, result.output
    expected = score_modes(snapshot, classifier, seed=1, count=ModeCount(40, 3))
    assert json.loads(result.stdout) == dataclasses.asdict(expected)


def test_other_images_than_digits_are_refused(snapshot, tmp_path):
    config = override(preset("smoke"), ["resolution=8"])
    other = Snapshot(build_generator(config), config, nimg=0, lod=0.0, label_rows=None)
    save_snapshot(tmp_path / "snapshot.safetensors", other)
    save_classifier(tmp_path / "digits.safetensors", DigitClassifier(), {})
    result = CliRunner().invoke(
        main,
        [
            "modes",
            str(tmp_path / "snapshot.safetensors"),
            "--classifier",
            str(tmp_path / "digits.safetensors"),
        ],
    )
    assert result.exit_code == 1
    assert "modes are counted on 32x32 RGB digits" in result.stderr


def test_the_classifier_survives_its_file_and_another_file_is_refused(snapshot, tmp_path):
    classifier = DigitClassifier().eval()
    save_classifier(tmp_path / "digits.safetensors", classifier, {})
    digits = torch.randint(0, 256, (5, 1, 32, 32), dtype=torch.uint8)
    again = load_classifier(tmp_path / "digits.safetensors", torch.device("cpu"))
    assert torch.equal(again(digits), classifier(digits))
    save_snapshot(tmp_path / "snapshot.safetensors", snapshot)
    with pytest.raises(FormatError, match="expected a trainer-digit-classifier file"):
        load_classifier(tmp_path / "snapshot.safetensors", torch.device("cpu"))
