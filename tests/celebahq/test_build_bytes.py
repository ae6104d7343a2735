"""A build with both networks on ends in the same bytes on one machine, however it was worked on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from PIL import Image

from celebahq.jobs.scratch import work_folder
from celebahq.pyramid import PyramidReader
from celebahq.restore.checkpoints import save_network
from celebahq.restore.networks import Network, RedNet, SrResNet
from celebahq.sources.celeba import LANDMARK_COLUMNS, LANDMARKS


def save_random(network: Network, path: Path) -> Path:
    """Small, and with an output that is not near its input, so that every pixel is the network's work."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.tail.parameters():
            parameter.normal_(0, 0.1)
    save_network(path, network, {})
    return path


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`celebahq build` of six annotated faces smaller than the target, less its output and workers."""
    folder = tmp_path_factory.mktemp("celeba")
    (folder / "img_celeba").mkdir()
    (folder / "Anno").mkdir()
    astronaut = Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB")
    points = np.array([[196, 117], [250, 110], [226, 150], [205, 178], [248, 172]])  # eyes, nose, mouth
    lines = []
    for side in range(300, 420, 20):
        name = f"{side:06d}.jpg"
        astronaut.resize((side, side)).save(folder / "img_celeba" / name, quality=60)
        lines.append(f"{name} " + " ".join(map(str, (points * side / 512).astype(int).ravel())))
    table = [str(len(lines)), " ".join(LANDMARK_COLUMNS), *lines, ""]
    (folder / LANDMARKS).write_text("\n".join(table))
    jpeg = save_random(RedNet(channels=(8, 8, 16), blocks=1), folder / "jpeg.safetensors")
    enlarge = save_random(SrResNet(channels=8, blocks=2), folder / "enlarge.safetensors")
    models = ["--jpeg-model", str(jpeg), "--sr-model", str(enlarge)]
    return ["build", "--celeba-dir", str(folder), "--resolution", "512", *models]


@pytest.fixture(scope="module")
def undisturbed(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "faces.h5"
    result = run_build(command, out, workers=1)
    assert result.returncode == 0, result.stderr
    return out


def run_build(command: list[str], out: Path, workers: int) -> subprocess.CompletedProcess[str]:
    arguments = [*command, "--out", str(out), "--workers", str(workers)]
    return subprocess.run(
        [sys.executable, "-m", "celebahq", *arguments], capture_output=True, text=True, timeout=300
    )


def kill_midway(command: list[str], out: Path, workers: int) -> None:
    """Run the command until a face is finished, then kill it."""
    arguments = [*command, "--out", str(out), "--workers", str(workers)]
    with subprocess.Popen(
        [sys.executable, "-m", "celebahq", *arguments], stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and not any(work_folder(out).glob("shard-*.log")):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_both_networks_ran_on_every_face(undisturbed: Path):
    with PyramidReader(undisturbed) as pyramid:
        assert len(pyramid) == 6
        assert {Path(name).name for name in pyramid.meta("jpeg_removal")} == {"jpeg.safetensors"}
        assert {Path(name).name for name in pyramid.meta("super_resolution")} == {"enlarge.safetensors"}


def test_the_number_of_workers_does_not_show(command: list[str], undisturbed: Path, tmp_path: Path):
    result = run_build(command, tmp_path / "faces.h5", workers=3)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "faces.h5").read_bytes() == undisturbed.read_bytes()


def test_a_kill_midway_does_not_show(command: list[str], undisturbed: Path, tmp_path: Path):
    out = tmp_path / "faces.h5"
    kill_midway(command, out, workers=2)
    result = run_build(command, out, workers=1)
    assert result.returncode == 0, result.stderr
    done_before = int(result.stderr.split("build: ")[1].split(" of 6 were done before")[0])
    assert 1 <= done_before < 6
    assert out.read_bytes() == undisturbed.read_bytes()
