"""`tools/few_photos.py`: the comparison of trainings on few photos."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from trainer.storage.checkpoint import snapshots

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    tool = importlib.import_module("few_photos")
    monkeypatch.setattr(tool, "STAGE_KIMG", 0.1)
    return tool


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(24):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def test_more_kimg_make_finished_runs_longer(tool: ModuleType, photos: Path, tmp_path: Path):
    outdir = tmp_path / "out"
    command = ["--photos", str(photos), "--outdir", str(outdir), "--count", "12", "--seeds", "1"]
    command += ["--resolution", "16"]
    for kimg, last in (("0.32", "00000000320"), ("0.64", "00000000640")):
        result = CliRunner().invoke(tool.main, [*command, "--kimg", kimg], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        runs = sorted(path for path in outdir.iterdir() if path.is_dir())
        assert [run.name.partition("-")[2] for run in runs] == ["plain-0", "augmented-0"]
        assert all(snapshots(run)[-1].stem.endswith(last) for run in runs)
    tracks = json.loads((outdir / "few-photos.json").read_text())
    assert [kimg for kimg, _ in tracks["plain-0"]] == pytest.approx([0.32, 0.64])
    assert (outdir / "few-photos.png").exists()
