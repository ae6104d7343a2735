"""The tables of several trainings: `tools/ablation.py`, `tools/mnist_modes.py`."""

import json

import ablation
import mnist_modes
import numpy as np
import pytest
from click.testing import CliRunner
from table_runs import mean_and_spread

from celebahq import PyramidWriter
from trainer.configuration.presets import preset


def test_the_spread_is_the_sample_standard_deviation():
    values = [12.5, 14.0, 19.0]
    assert mean_and_spread(values, 3) == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    assert mean_and_spread([2.0]) == "2.0"


def test_a_fraction_shortens_everything_alike():
    run = mnist_modes.modes_run("+ growing", "K/2", 3, 0.25)
    published = preset("mnist-rgb-1k+ournorm+mbstddev+progression+k2")
    assert run.preset == "mnist-rgb-1k+ournorm+mbstddev+progression+k2"
    for name, value in (
        ("train.total_kimg", published.train.total_kimg),
        ("schedule.train_kimg", published.schedule.train_kimg),
        ("schedule.trans_kimg", published.schedule.trans_kimg),
        ("schedule.rampup_kimg", published.schedule.rampup_kimg),
    ):
        assert run.changes[name] == pytest.approx(value / 4)


@pytest.mark.slow
def test_the_same_command_goes_on_and_prints_a_row_per_preset(tmp_path, monkeypatch):
    with PyramidWriter(tmp_path / "reals.h5", 16) as pyramid:
        pyramid.append(np.random.default_rng(0).integers(0, 256, (32, 3, 16, 16), np.uint8))
    arguments = ["--data", str(tmp_path / "reals.h5"), "--outdir", str(tmp_path / "runs"), "--rows", "a,h"]
    arguments += ["--seeds", "0,1", "--resolution", "16", "--kimg", "0.4"]
    first = CliRunner().invoke(ablation.main, arguments)
    assert first.exit_code == 0, first.output
    assert [line.split("|")[1].strip() for line in first.stdout.splitlines()] == ["row", "---", "(a)", "(h)"]
    before = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("stats.jsonl")}
    assert len(before) == 4
    assert CliRunner().invoke(ablation.main, arguments).stdout == first.stdout
    assert {path: path.read_bytes() for path in before} == before
    config = json.loads(next((tmp_path / "runs/h-1").glob("0*/config.json")).read_text())
    assert config["train"]["seed"] == 1
