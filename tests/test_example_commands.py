"""The commands in README, docs and `--help` run as they stand, on small data of the names that they use."""

import importlib
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
import skimage.data
from click.testing import CliRunner
from PIL import Image
from tiny_runs import start, tiny_config, write_pyramid

from celebahq.pyramid import PyramidWriter

ROOT = Path(__file__).parent.parent
PACKAGES = ("celebahq", "swd", "trainer")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CALL = r"(?:(?:torchrun|srun) [^\n`]*)?(?:celebahq|swd|trainer) [a-z]+ [^\n`]+"

PARTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
FOLDERS = ["fakes", "fakes-0200", "fakes-0400", "fakes-0600", "real", "ours", "theirs"]
FOLDERS += ["pictures/a", "pictures/b"]

OWN_TEST = "tutorial.md"  # each of its commands needs what the one before has made

GPUS = "needs eight GPUs"
CLUSTER = "needs a cluster"
PROCESSES = "tests/trainer/training has runs of two processes"
PUBLISHED = "needs published files, complete"
LONG = "trains for hours"
NOT_RUN = {
    "torchrun --nproc-per-node 8 -m swd compare celeba-hq.h5 fakes/": GPUS,
    "torchrun --nproc-per-node 8 -m swd compare celebahq.h5 fakes/": GPUS,
    "torchrun --nproc-per-node 8 -m trainer run --data celeba-hq.h5 --preset celebahq-1024 "
    "--outdir runs": GPUS,
    "torchrun --nproc-per-node 8 -m trainer run --data celebahq.h5 --preset celebahq-1024": GPUS,
    "torchrun --nproc-per-node 2 -m trainer resume runs/00000-faces-64": PROCESSES,
    "srun trainer run --data faces.h5 --preset faces-64 --outdir runs --resume": CLUSTER,
    "celebahq build --photos /data/photos --out /data/faces.h5 --cluster tcp://first:8786": CLUSTER,
    'celebahq build --photos /data/photos --out /data/faces.h5 --cluster "tcp://$first:8786"': CLUSTER,
    "celebahq reconstruct --celeba-dir CelebA --delta-dir deltas -o celeba-hq.h5": PUBLISHED,
    "celebahq reconstruct --celeba-dir CelebA --delta-dir deltas -o celeba-hq-1024x1024.h5": PUBLISHED,
    "celebahq import cifar10 cifar-10-batches-py/ -o cifar10.h5": PUBLISHED,
    "celebahq import lsun bedroom_train_lmdb/ -o bedroom.h5 --resolution 256 --max-images 100000": PUBLISHED,
    "celebahq import mnist MNIST_DIR -o mnist.h5": PUBLISHED,
    "celebahq import mnist-rgb MNIST_DIR -o mnist-rgb.h5": PUBLISHED,
    "trainer import karras2018iclr-celebahq-1024x1024.pkl -o celebahq.safetensors": PUBLISHED,
    "trainer modes runs/00000-mnist-rgb-1k --classifier digits.safetensors": PUBLISHED,
    "trainer run --data faces.h5 --preset faces-64 --set train.total_kimg=500 "
    "--set schedule.minibatch_by_resolution.64=8": LONG,
    "trainer resume runs/00000-faces-64 --set train.total_kimg=600": LONG,
    "trainer resume runs/00000-faces-64 --set resolution=128 --set train.total_kimg=200": LONG,
    "trainer resume runs/00000-faces-64 --set train.total_kimg=600 --minibatch-gpu 8": LONG,
    "trainer generate runs/00000-faces-64 --num 50000 --out fakes.h5 --seed 1": "50,000 images take minutes",
    "trainer bench --preset celebahq-1024 --synthetic --set runtime.precision=bf16": "takes minutes and 8 GB",
}
"""Examples that are parsed only, and why."""


def examples() -> list[str]:
    """Command lines in the pages' blocks and in help texts, and those within a line that name files."""
    found = []
    for page in PAGES:
        if page.name == OWN_TEST:
            continue
        text = page.read_text()
        blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        found += re.findall(rf"^{CALL}", blocks, re.MULTILINE)
        found += [call for call in re.findall(rf"`({CALL})`", text) if is_whole(call)]
    for package in PACKAGES:
        for command in main_of(package).commands.values():
            shown = re.split(r"\n *Examples?:\n", command.help or "")[-1]
            found += re.findall(rf"^ *({CALL})", shown, re.MULTILINE)
    return sorted({call.partition(" #")[0].strip().removesuffix(" &") for call in found})


def is_whole(call: str) -> bool:
    """Whether a command within a line names files, and has no placeholders."""
    return bool(re.search(r"[a-z]\.\w|/", call)) and not re.search(r"[A-Z]{3}|\.\.\.", call)


def main_of(package: str) -> click.Group:
    return importlib.import_module(f"{package}.cli").main


def words(call: str) -> tuple[str, list[str]]:
    """The package, and the arguments after its name."""
    parts = shlex.split(call)
    place = next(i for i, part in enumerate(parts) if part in PACKAGES)
    return parts[place], parts[place + 1 :]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Everything that the examples take for granted, small; each gets a copy."""
    folder = tmp_path_factory.mktemp("shelf")
    face = Image.fromarray(skimage.data.astronaut()[:256, 100:356])
    for name in ("holiday", "CelebA/img_celeba", "CelebA/Anno"):
        (folder / name).mkdir(parents=True)
    face.save(folder / "holiday/face.png")
    face.resize((64, 64)).save(folder / "photo.jpg")
    face.save(folder / "CelebA/img_celeba/000001.jpg")
    columns = [f"{part}_{axis}" for part in PARTS for axis in "xy"]
    points = "104 110 144 108 126 132 108 150 142 150"
    annotated = folder / "CelebA/Anno/list_landmarks_celeba.txt"
    annotated.write_text(f"1\n{' '.join(columns)}\n000001.jpg {points}\n")
    (folder / "bad.txt").write_text("3.jpg\n")
    (folder / "portraits.toml").write_text('extends = "smoke"\n')
    images = np.random.default_rng(0).integers(0, 256, (32, 3, 256, 256), np.uint8)
    facts = {"source_name": [f"{i}.jpg" for i in range(32)], "quality_score": np.arange(32.0)}
    for name, side in (("faces.h5", 256), ("celeba-hq.h5", 16)):
        with PyramidWriter(folder / name, side, provenance={"label_names": ["Smiling"]}) as pyramid:
            pyramid.append(images[..., :side, :side], labels=np.arange(32)[:, None] % 2, meta=facts)
    shutil.copy(folder / "faces.h5", folder / "rebuilt.h5")
    write_pyramid(folder / "celebahq.h5")
    for name in ("cats.h5", "mnist-rgb.h5"):
        shutil.copy(folder / "celebahq.h5", folder / name)
    for place in FOLDERS:
        (folder / place).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(images[i, 0, :16, :16]).convert("RGB").save(folder / place / f"{i}.png")
    run = folder / "runs/00000-faces-64"
    start(tiny_config(), write_pyramid(folder / "data.h5"), folder / "runs").rename(run)
    shutil.copy(next((run / "snapshots").iterdir()), folder / "celebahq.safetensors")
    sizes = {"label_size": 10}
    config = tiny_config(generator=sizes, discriminator=sizes, train={"total_kimg": 0.05})
    digits = write_pyramid(folder / "digits.h5", labels=10)
    start(config, digits, folder / "runs").rename(folder / "runs/00000-digits")
    assert (
        CliRunner()
        .invoke(
            main_of("swd"),
            ["cache", str(folder / "real"), "-o", str(folder / "real.swd.safetensors"), "--device", "cpu"],
        )
        .exit_code
        == 0
    )
    return folder


@pytest.fixture
def workplace(shelf, tmp_path, monkeypatch):
    shutil.copytree(shelf, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    tiny = {"train_kimg": 0.01, "trans_kimg": 0.01}

    def small(name, world_size=1):
        return replace(tiny_config(schedule=tiny, train={"total_kimg": 0.05}), name=name)

    presets = importlib.import_module("trainer.configuration.presets")
    monkeypatch.setattr(presets, "preset", small)
    monkeypatch.setattr(presets, "config_from_file", lambda path, world_size: small(path.stem))
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("call", [call for call in examples() if call not in NOT_RUN])
def test_an_example_runs_as_it_stands(call, workplace):
    package, arguments = words(call)
    for flag in ("--out", "-o", "--plot"):
        if flag in arguments:
            made = workplace / arguments[arguments.index(flag) + 1]
            shutil.rmtree(made) if made.is_dir() else made.unlink(missing_ok=True)
    result = CliRunner().invoke(main_of(package), arguments)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("call", NOT_RUN)
def test_an_example_that_is_not_run_is_well_formed(call, monkeypatch):
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))
    assert call in examples(), "no such example any more"
    package, (name, *arguments) = words(call)
    command = main_of(package).commands[name]
    assert command.make_context(name, arguments).params


def test_every_command_has_an_example_that_is_looked_at():
    found = {(package, arguments[0]) for package, arguments in map(words, examples())}
    assert found == {(package, name) for package in PACKAGES for name in main_of(package).commands}
