import numpy as np
import pytest
import torch

from celebahq.errors import ToolError
from swd import ms_ssim
from swd.diversity import measure_diversity
from swd.method.protocol import Protocol
from swd.method.randomness import FAKES
from swd.pipeline.resources import Resources
from swd.pipeline.sources import open_images

CPU = Resources(torch.device("cpu"), workers=2)


def similarity(path, images, resolution):
    return measure_diversity(
        open_images(path), Protocol(images, resolution), CPU, set_id=FAKES, stage="pairs"
    )


def test_few_images_are_compared_pair_by_pair(reals):
    chosen = Protocol(5, 32).choose(24, FAKES)
    pictures = torch.from_numpy(reals.images[chosen])
    scores = [ms_ssim(pictures[i : i + 1], pictures[j : j + 1]) for i in range(5) for j in range(i)]
    found = similarity(reals.h5, 5, 32)
    assert found.pairs == 10
    assert found.value == pytest.approx(torch.cat(scores).mean().item(), rel=1e-9)


def test_equal_images_are_fully_alike(tmp_path, noise):
    np.save(tmp_path / "x.npy", np.repeat(noise(1, 16, seed=0), 4, axis=0))
    found = similarity(tmp_path / "x.npy", 4, 16)
    assert found.value == pytest.approx(1)
    assert found.se == pytest.approx(0, abs=1e-9)


def test_of_many_pairs_some_are_drawn(reals, monkeypatch):
    every = similarity(reals.h5, 24, 32)
    monkeypatch.setattr("swd.diversity.MAX_PAIRS", 100)
    some = similarity(reals.h5, 24, 32)
    assert (every.pairs, some.pairs) == (276, 100)
    assert abs(every.value - some.value) < 3 * some.se


def test_one_image_makes_no_pair(tmp_path, noise):
    np.save(tmp_path / "x.npy", noise(1, 16, seed=0))
    with pytest.raises(ToolError, match="one image"):
        similarity(tmp_path / "x.npy", 1, 16)
