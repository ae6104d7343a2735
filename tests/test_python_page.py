"""The code on docs/python.md runs as it stands, block after block, as a reader would paste it."""

import re
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from tiny_runs import start, tiny_config, write_pyramid

PAGE = Path(__file__).parent.parent / "docs" / "python.md"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """What the page takes for granted: a photo, square images of two classes, generated ones, a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "photos" / "astronaut.png")
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
    for index, image in enumerate(images):
        folder = tmp_path / ("generated" if index >= 16 else f"squares/{'cat' if index % 2 else 'dog'}")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index:02d}.png")
    start(tiny_config(), write_pyramid(tmp_path / "tiny.h5"), tmp_path / "runs")
    return tmp_path


@pytest.mark.slow  # a training, a build, and the workers of both
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_page_runs_from_top_to_bottom(workplace, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    names = {"__name__": "__main__"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    assert names["aligned"].shape == (256, 256, 3)
    assert names["three"].shape == (3, 3, 32, 32)
    assert names["first_class"].shape == (8, 3, 32, 32)
    assert names["images"].shape == (20, 3, 16, 16)
    said = capsys.readouterr().out
    assert "find faces: 1 of 1 images, 0 skipped" in said
    assert "1 faces; see build-report.html" in said
    assert said.endswith("absent.jpg -> No such file or directory\n")
