"""The tool that trains the shipped weights: `tools/train_restorer.py`."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from celebahq.restore.checkpoints import load_network, save_network

TOOLS = Path(__file__).parents[2] / "tools"
SMALL = ["--batch", "2", "--patch", "16", "--device", "cpu"]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("train_restorer")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index, side in enumerate((260, 281)):
        coarse = rng.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(coarse, (side, side)))
    return folder


def run(tool: ModuleType, kind: str, images: Path, out: Path, steps: int, *more: str) -> None:
    command = [kind, "--images", str(images), "--out", str(out), "--steps", str(steps), *SMALL, *more]
    result = CliRunner().invoke(tool.main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("kind", ["jpeg", "sr4x"])
def test_a_run_writes_weights_log_and_state(kind: str, tool: ModuleType, images: Path, tmp_path: Path):
    out = tmp_path / "a.safetensors"
    run(tool, kind, images, out, 3, "--checkpoint-sec", "0")
    assert load_network(out).scale == (1 if kind == "jpeg" else 4)
    log = [json.loads(line) for line in out.with_suffix(".log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [1, 2, 3]
    assert torch.load(out.with_suffix(".state.pt"), weights_only=True)["step"] == 3


@pytest.mark.parametrize("kind", ["jpeg", "sr4x"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    kind: str, tool: ModuleType, images: Path, tmp_path: Path
):
    patches = tool.Patches(kind, tool.load_images(images), tool.SMALLEST_BATCH, 16, 0)

    def training():
        return tool.Training(kind, tool.RECIPES[kind], 0, torch.device("cpu"))

    whole = training()
    for _ in tool.train(whole, patches, steps=4, minutes=None, every_sec=9e9):
        pass
    first, second = training(), training()
    halves = tool.train(first, patches, steps=4, minutes=None, every_sec=9e9)
    for _ in range(2):
        next(halves)
    torch.save(first.state(), tmp_path / "state.pt")
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in tool.train(second, patches, steps=4, minutes=None, every_sec=9e9, loaders=3):
        pass
    assert second.step == 4
    for mine, other in zip(second.average.parameters(), whole.average.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)
    for mine, other in zip(second.net.parameters(), whole.net.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)


def test_a_few_steps_on_one_patch_lower_the_loss(tool: ModuleType, images: Path):
    training = tool.Training("sr4x", tool.RECIPES["sr4x"], 0, torch.device("cpu"))
    batch = tool.Patches("sr4x", tool.load_images(images), 2, 16, 0).at(0)
    losses = [training.advance(*batch, 0.0) for _ in range(25)]
    assert losses[-1] < 0.9 * losses[0]


def test_batches_depend_on_seed_and_step_alone(tool: ModuleType, images: Path):
    photos = tool.load_images(images)
    one, same = tool.Patches("jpeg", photos, 2, 32, 7), tool.Patches("jpeg", photos, 2, 32, 7)
    one.at(0)
    for mine, other in zip(one.at(5), same.at(5), strict=True):
        assert torch.equal(mine, other)
    assert not torch.equal(one.at(5)[1], one.at(6)[1])
    assert not torch.equal(one.at(5)[1], tool.Patches("jpeg", photos, 2, 32, 8).at(5)[1])


def test_small_and_large_patch_show_the_same(tool: ModuleType, images: Path):
    patches = tool.Patches("sr4x", tool.load_images(images), 4, 16, 0)
    small, large = patches.at(0)
    averaged = torch.nn.functional.avg_pool2d(large.float(), 4)
    assert (averaged - small.float()).abs().mean() < 4  # another kernel, the same place and orientation


def test_the_rate_warms_up_and_ends_at_zero(tool: ModuleType):
    assert tool.rate_factor(0, 0.0) == pytest.approx(1 / tool.WARMUP_STEPS)
    assert tool.rate_factor(1000, 0.5) == pytest.approx(0.5)
    assert tool.rate_factor(1000, 1.0) == pytest.approx(0, abs=1e-12)


def test_a_folder_without_pictures_and_an_unclear_length_are_refused(tool: ModuleType, tmp_path: Path):
    out = str(tmp_path / "a.safetensors")
    base = ["jpeg", "--images", str(tmp_path), "--out", out, "--device", "cpu"]
    empty = CliRunner().invoke(tool.main, [*base, "--steps", "1"])
    assert "no picture" in str(empty.exception)
    assert CliRunner().invoke(tool.main, base).exit_code == 2
    assert CliRunner().invoke(tool.main, [*base, "--steps", "1", "--batch", "1"]).exit_code == 2


def test_a_smaller_network_is_grown_and_another_kind_is_refused(tool: ModuleType, tmp_path: Path):
    small = tmp_path / "small.safetensors"
    save_network(small, tool.RedNet((64, 128, 192), 1), {})
    grown = tool.Training("jpeg", tool.RECIPES["jpeg"], 0, torch.device("cpu"), small)
    assert grown.net.config == tool.RedNet().config
    with pytest.raises(tool.ToolError, match=r"small\.safetensors: a RedNet"):
        tool.Training("sr4x", tool.RECIPES["sr4x"], 0, torch.device("cpu"), small)
    save_network(small, tool.RedNet((64, 128), 1), {})
    tool.Training("jpeg", tool.RECIPES["jpeg"], 0, torch.device("cpu"), small)
    save_network(small, tool.RedNet((64, 100), 1), {})
    with pytest.raises(tool.ToolError, match="cannot be grown"):
        tool.Training("jpeg", tool.RECIPES["jpeg"], 0, torch.device("cpu"), small)
