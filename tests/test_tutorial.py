"""docs/tutorial.md: its commands run one after the other, as they stand, on two portraits in short."""

import importlib
import re
import shlex
import tomllib
from pathlib import Path

import matplotlib
import pytest
import skimage.data
from click.testing import CliRunner
from PIL import Image

from trainer.configuration.presets import config_from_file

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
SHORT = {"schedule": {"train_kimg": 0.1, "trans_kimg": 0.1, "tick_kimg": 0.3}, "train": {"total_kimg": 0.6}}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder of portraits, and the page's configuration with less to do."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "portraits").mkdir()
    Image.fromarray(skimage.data.astronaut()[:256, 100:356]).save(tmp_path / "portraits/astronaut.png")
    with Image.open(Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg") as hopper:
        hopper.save(tmp_path / "portraits/hopper.png")
    (file,) = blocks("toml")
    values = tomllib.loads(file)
    lines = [
        line
        for line in file.splitlines()
        if not re.match(r"(train_kimg|trans_kimg|tick_kimg|total_kimg) =", line)
    ]
    for section, fields in SHORT.items():
        place = lines.index(f"[{section}]") + 1
        lines[place:place] = [f"{name} = {value}" for name, value in fields.items()]
    (tmp_path / "portraits.toml").write_text("\n".join(lines))
    assert config_from_file(tmp_path / "portraits.toml").data.augment == values["data"]["augment"]
    return tmp_path


@pytest.mark.slow  # networks, a training, and their measurement
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_commands_run_from_top_to_bottom(workplace):
    calls = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(calls) == 11
    for call in calls:
        package, *arguments = shlex.split(call)
        result = CliRunner().invoke(importlib.import_module(f"{package}.cli").main, arguments)
        assert result.exit_code == 0, f"{call}: {result.output}"
    for name in (
        "faces.h5",
        "build-report.html",
        "best.png",
        "good.h5",
        "grid.png",
        "fakes.h5",
        "distance.png",
    ):
        assert (workplace / name).is_file()
    assert (workplace / "runs/00000-portraits/index.html").is_file()


def test_its_pictures_are_small():
    pictures = list((PAGE.parent / "images").glob("tutorial-*"))
    assert pictures
    assert sum(picture.stat().st_size for picture in pictures) < 200_000
