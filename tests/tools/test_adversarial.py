"""The terms of the adversarial training: `tools/adversarial.py`."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.nn import functional

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("adversarial")


def noise(seed: int, side: int = 96) -> torch.Tensor:
    return 0.5 + 0.1 * torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_another_texture_of_equal_contrast_is_nearer_than_a_smooth_surface(tool: ModuleType):
    target, other, smooth = noise(0), noise(1), torch.full((2, 3, 96, 96), 0.5)
    assert float(tool.texture_distance(target, target)) == 0
    assert float(tool.texture_distance(other, target)) < 0.1 * float(tool.texture_distance(smooth, target))
    # By the error of pixels it is the other way round.
    assert functional.l1_loss(other, target) > functional.l1_loss(smooth, target)


def test_the_mesh_is_what_repeats_in_every_cell(tool: ModuleType):
    target = noise(0)
    pattern = 0.1 * torch.sign(torch.randn(4, 4, generator=torch.Generator().manual_seed(2))).repeat(24, 24)
    scattered = 0.1 * torch.sign(noise(3) - 0.5)
    assert float(tool.mesh(target + pattern, target)) == pytest.approx(0.1, rel=1e-5)
    assert float(tool.mesh(target + scattered, target)) < 0.025  # 0.1 / 5, for means of 25


def test_the_cut_lies_on_each_of_the_sixteen_places_in_turn(tool: ModuleType):
    image = torch.arange(144.0).reshape(1, 1, 12, 12)
    corners = {float(tool.shifted(image, step)[0, 0, 0, 0]) for step in range(16)}
    assert corners == {12.0 * y + x for y in range(4) for x in range(4)}
    assert tool.shifted(image, 5).shape == (1, 1, 8, 8)
