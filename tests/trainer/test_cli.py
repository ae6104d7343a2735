"""The commands on a tiny run: what they print, what they write, how they fail."""

import json
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from imageio_ffmpeg import count_frames_and_secs
from PIL import Image
from tiny_runs import start, tiny_config, write_pyramid

import swd
import trainer
from trainer.cli import main
from trainer.storage.runs import REALS_CACHE
from trainer.training.objectives import Objectives
from trainer.use.evaluate import measure_snapshot
from trainer.use.grids import enlarge
from trainer.use.modes import DigitClassifier, save_classifier
from trainer.use.snapshot import all_snapshots, find_snapshot


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished tiny run up to the middle of 8x8."""
    folder = tmp_path_factory.mktemp("cli")
    return start(tiny_config(train={"total_kimg": 0.16}), write_pyramid(folder / "data.h5"), folder / "runs")


def call(*arguments: object, status: int = 0) -> str:
    """Run a command on the CPU; its stdout, or stderr where it should fail."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.stderr if status else result.stdout


def pngs(folder) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def test_generated_images_are_the_same_in_every_container_and_number(run, tmp_path):
    call("generate", run, "--num", 21, "--out", tmp_path / "a.h5", "--seed", 3, "--device", "cpu")
    call("generate", run, "--num", 5, "--out", tmp_path / "folder", "--seed", 3, "--device", "cpu")
    call("generate", run, "--num", 11, "--out", tmp_path / "a.zip", "--seed", 3, "--device", "cpu")
    with h5py.File(tmp_path / "a.h5") as file:
        images = file["data8x8"][:].transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(pngs(tmp_path / "folder"), images[:5])
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == [f"{i:08d}.png" for i in range(11)]
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}  # the same bytes
        archive.extractall(tmp_path / "unzipped")
    np.testing.assert_array_equal(pngs(tmp_path / "unzipped"), images[:11])


def test_images_are_not_written_into_a_picture(run, tmp_path):
    complaint = call("generate", run, "--num", 2, "--out", tmp_path / "f.png", status=2)
    assert "a folder is written, or a file ending in .h5 or .hdf5 or .zip; trainer grid draws" in complaint
    assert not list(tmp_path.iterdir())


OUTPUTS = [
    ("grid", "a.png", "8x4 images", ()),
    ("generate", "a.h5", "2 images", ("--num", 2)),
    ("generate", "a.zip", "1 images", ("--seeds", 7)),
    ("export", "a.safetensors", "generator for 8x8", ()),
]


@pytest.mark.parametrize(("name", "file", "said", "more"), OUTPUTS)
def test_what_was_written_is_said_and_replaced_if_asked(run, tmp_path, name, file, said, more):
    out = tmp_path / file
    command = [str(part) for part in (name, run, "--out", out, *more)]
    first = CliRunner().invoke(main, command)
    assert f"{out}: {said}\n" in first.stderr
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 1
    assert "exists already; choose another name, or pass --overwrite to replace it" in refused.stderr
    assert CliRunner().invoke(main, [*command, "--overwrite"]).exit_code == 0


def test_the_first_image_of_each_of_some_seeds(run, tmp_path):
    call("generate", run, "--seeds", "7,1,42", "--out", tmp_path / "seeds", "--device", "cpu")
    files = {path.name: np.asarray(Image.open(path)) for path in (tmp_path / "seeds").iterdir()}
    snapshot = trainer.load_snapshot(run)
    assert sorted(files) == ["seed1.png", "seed42.png", "seed7.png"]
    for seed in (1, 7, 42):
        expected = snapshot.generate(seed, [0])[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(files[f"seed{seed}.png"], expected)
    out = ["--out", tmp_path / "other", "--device", "cpu"]
    assert "either --num or --seeds" in call("generate", run, *out, status=2)
    assert "not a list of seeds like 1,7,42" in call("generate", run, "--seeds", "1;2", *out, status=2)
    assert "the generator knows no classes" in call("generate", run, "--num", 1, "--class", 0, *out, status=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", ".", "--seeds", "1,7,1", "--out", "x"], "1 is there twice"),
        (["generate", ".", "--seeds", "1,2", "--seed", 3, "--out", "x"], "--seed has no say beside --seeds"),
        (
            ["video", "--progress", ".", "--smoothing", 2, "--out", "x.mp4"],
            "--smoothing has no say beside --progress",
        ),
        (
            ["run", "--preset", "smoke", "-n", "--seed", 1, "--set", "train.seed=2"],
            "--seed or --set train.seed",
        ),
        (
            ["run", "--preset", "smoke", "-n", "--deterministic", "--set", "runtime.deterministic=false"],
            "--deterministic or --set runtime.deterministic",
        ),
        (
            ["run", "--preset", "smoke", "-n", "--set", "runtime.minibatch_gpu.8=4"],
            "--minibatch-gpu N limits it",
        ),
        (
            ["resume", ".", "--on-nan", "skip", "--set", "train.on_nan=stop"],
            "--on-nan or --set train.on_nan",
        ),
    ],
)
def test_of_two_options_none_loses_silently(arguments, message):
    assert message in call(*arguments, status=2)


def test_one_class_of_a_network_with_labels(tmp_path):
    labels = {"label_size": 3}
    sizes = {"resolution": 16, "fmap_max": 8, "fmap_base": 64}
    config = tiny_config(
        generator={**sizes, "latent_size": 8, **labels},
        discriminator={**sizes, **labels},
        train={"total_kimg": 0.01},
    )
    run = start(config, write_pyramid(tmp_path / "labelled.h5", labels=3), tmp_path / "runs")
    call("generate", run, "--num", 4, "--class", 2, "--out", tmp_path / "twos.h5", "--device", "cpu")
    snapshot = trainer.load_snapshot(run)
    twos = snapshot.of_class(2)
    assert twos.labels(0, range(5)).tolist() == [[0, 0, 1]] * 5
    images = snapshot.generator(
        snapshot.latents(0, range(8)), torch.tensor([[0.0, 0, 1]]).expand(8, 3), snapshot.lod
    )
    with h5py.File(tmp_path / "twos.h5") as file:
        found = torch.from_numpy(file["data4x4"][:])
    expected = (images[:4] * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
    assert torch.equal(found, expected)
    message = call(
        "generate", run, "--num", 1, "--class", 3, "--out", tmp_path / "x", "--device", "cpu", status=1
    )
    assert "class 3: its classes are 0 to 2" in message


def test_a_run_begins_with_another_through_the_command_line(run, tmp_path):
    data = write_pyramid(tmp_path / "data.h5")
    sets = ["resolution=16", "train.total_kimg=0.02", "schedule.minibatch=8"]
    for name in ("generator", "discriminator"):
        sets += [f"{name}.fmap_max=8", f"{name}.fmap_base=64"]
    sets += ["generator.latent_size=8", "schedule.tick_kimg=0.01"]
    options = [part for value in sets for part in ("--set", value)]
    arguments = ["--data", data, "--outdir", tmp_path / "runs", "--preset", "smoke", "--device", "cpu"]
    call("run", *arguments, "--init", run, *options)
    new = tmp_path / "runs" / "00000-smoke"
    assert json.loads((new / "config.json").read_text())["schedule"]["initial_resolution"] == 8
    assert trainer.load_snapshot(new).resolution == 8


def test_a_snapshot_loads_and_generates_in_three_lines(run):
    snapshot = trainer.load_snapshot(run)
    images = snapshot.generate(seed=3, indices=range(20))
    assert images.shape == (20, 3, 8, 8)
    assert torch.equal(snapshot.generate(seed=3, indices=[17, 2, 17]), images[[17, 2, 17]])
    assert not torch.equal(snapshot.generate(seed=4, indices=range(20)), images)


def test_an_existing_output_is_not_replaced(run, tmp_path):
    (tmp_path / "out.h5").write_bytes(b"")
    message = call("generate", run, "--num", 1, "--out", tmp_path / "out.h5", "--device", "cpu", status=1)
    assert "out.h5: exists already" in message


@pytest.mark.parametrize(("duration", "frames"), [(1, 5), (1.4, 7), (0.1, 2)])  # it has two snapshots
def test_the_progress_of_a_run_takes_as_long_as_is_said(run, tmp_path, duration, frames):
    out = tmp_path / "a.mp4"
    options = ["--columns", "1", "--rows", "1", "--size", "32", "--duration", str(duration), "--fps", "5"]
    result = CliRunner().invoke(main, ["video", "--progress", str(run), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    assert f"{out}: {frames / 5:g} seconds\n" in result.stderr
    assert count_frames_and_secs(str(out)) == (frames, pytest.approx(frames / 5))


def test_a_grid(run, tmp_path):
    call("grid", run, "--out", tmp_path / "grid.png", "--columns", 3, "--rows", 2, "--device", "cpu")
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    images = trainer.load_snapshot(run).generate(0, range(6)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(grid[:8, 8:16], images[1])
    np.testing.assert_array_equal(grid[8:, :8], images[3])


def test_an_export_is_the_averaged_generator(run, tmp_path):
    call("export", run, "--out", tmp_path / "G.pt2")
    snapshot = trainer.load_snapshot(run)
    latents = snapshot.latents(0, range(5))
    images = torch.export.load(tmp_path / "G.pt2").module()(latents)
    torch.testing.assert_close(images, snapshot.generator(latents, lod=snapshot.lod))


def test_exported_weights_load_into_a_generator(run, tmp_path):
    from safetensors.torch import load_file

    call("export", run, "--out", tmp_path / "G.safetensors")
    snapshot = trainer.load_snapshot(run)
    generator = trainer.Generator(snapshot.config.generator)
    generator.load_state_dict(load_file(tmp_path / "G.safetensors"))
    latents = snapshot.latents(0, range(5))
    assert torch.equal(generator(latents, lod=snapshot.lod), snapshot.generator(latents, lod=snapshot.lod))


def test_an_export_does_not_replace_its_snapshot(run):
    for given, out in ((find_snapshot(run), find_snapshot(run)), (run, find_snapshot(run))):
        before = out.read_bytes()
        assert "made of this very file" in call("export", given, "--out", out, "--overwrite", status=1)
        assert out.read_bytes() == before


def test_videos(run, tmp_path):
    options = ["--columns", 2, "--rows", 1, "--size", 32, "--duration", 0.5, "--fps", 8, "--device", "cpu"]
    call("video", run, "--out", tmp_path / "walk.mp4", *options)
    call("video", "--progress", run, "--out", tmp_path / "progress.mp4", *options)
    for name in ("walk.mp4", "progress.mp4"):
        assert (tmp_path / name).read_bytes()[4:8] == b"ftyp"
    none = tmp_path / "none.mp4"
    assert "either SNAPSHOT or --progress" in call("video", "--out", none, status=2)
    for source in ([run], ["--progress", run]):
        message = call("video", *source, "--out", none, "--size", 100, "--device", "cpu", status=1)
        assert "--size 100: must be a multiple of the network's" in message
    assert not none.exists()


def test_video_without_its_extra_says_how_to_install_it(run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    message = call(
        "video", run, "--out", tmp_path / "walk.mp4", "--duration", 0.1, "--device", "cpu", status=1
    )
    assert "pip install 'celebahq-toolkit[video]'" in message


def test_evaluate_reports_every_snapshot(run, tmp_path):
    options = ["--images", 40, "--metrics", "swd", "--device", "cpu"]
    report = json.loads(call("evaluate", run, *options, "--plot", tmp_path / "plot.png", "--json"))
    assert [entry["fake"] for entry in report["sets"]] == ["0.0 kimg", "0.2 kimg"]
    # Judged at 16x16, of the same latents.
    images = [
        enlarge(trainer.load_snapshot(file).generate(0, range(40)), 16).numpy() for file in all_snapshots(run)
    ]
    data = json.loads((run / "data.json").read_text())["path"]
    alone = swd.compare(data, images, images=40, paired=True, device="cpu", threads=1).fakes[1]
    for name, expected in (("swd", alone.distance), ("swd_difference", alone.difference)):
        found = report["sets"][1][name]["average"]
        assert found["value"] == pytest.approx(expected.average.value, rel=1e-6)
        assert found["se"] == pytest.approx(expected.average.se, rel=1e-4)  # differences of near numbers
    assert (
        report["reference"]["fresh_patches"]["average"]["value"]
        < report["sets"][0]["swd"]["average"]["value"]
    )
    assert json.loads((run / "evaluation.json").read_text()) == report
    with Image.open(tmp_path / "plot.png") as plot:
        assert plot.size[0] > 100
    assert not list(run.glob("evaluation-*"))
    message = call("evaluate", run, *options, "--plot", tmp_path / "plot.png", status=1)
    assert "plot.png: exists already" in message
    message = call("evaluate", run, "--metrics", "msssim", "--plot", tmp_path / "other.png", status=2)
    assert "--plot draws distances" in message


def test_a_damaged_cache_of_the_reals_is_made_again(run, tmp_path):
    data = Path(json.loads((run / "data.json").read_text())["path"])
    snapshot, cache = trainer.load_snapshot(run), tmp_path / REALS_CACHE

    def measured():
        return measure_snapshot(snapshot, data, tmp_path, torch.device("cpu"), images=8, size=16)

    figures, held = measured(), cache.read_bytes()
    for damaged in (held[:1000], held[:-1] + bytes([held[-1] ^ 1]), held.replace(b'"3"', b'"1"', 1)):
        cache.write_bytes(damaged)
        assert measured() == figures
        assert cache.read_bytes() == held


@pytest.mark.parametrize("resolution", [8, 24, 64])
def test_evaluate_refuses_resolutions_that_the_network_never_has(run, resolution):
    message = call("evaluate", run, "--resolution", resolution, "--device", "cpu", status=1)
    assert f"--resolution {resolution}: must be a power of two from 16 to the network's 16" in message


def test_bench_says_how_long_a_step_takes_and_what_of_it_is_the_penalty(monkeypatch):
    original = Objectives.penalty

    def slow(self, *arguments):
        time.sleep(0.2)
        return original(self, *arguments)

    monkeypatch.setattr(Objectives, "penalty", slow)
    sets = [part for value in ("resolution=8", "train.total_kimg=8") for part in ("--set", value)]
    rows = json.loads(
        call("bench", "--preset", "smoke", "--synthetic", *sets, "--steps", 1, "--device", "cpu", "--json")
    )
    assert [row["resolution"] for row in rows] == [4, 8]
    for row in rows:
        step_sec = row["sec_per_kimg"] * 16 / 1000
        # The nap is the least that the penalty can take; how long the rest takes is the machine's business.
        assert row["share"]["penalty"] * step_sec >= 0.2


def test_dry_run_prints_the_configuration_and_starts_nothing(tmp_path):
    arguments = [
        "--preset",
        "smoke",
        "--outdir",
        tmp_path / "runs",
        "--set",
        "train.total_kimg=3",
        "--seed",
        7,
    ]
    config = json.loads(call("run", *arguments, "--dry-run"))
    assert config["train"]["total_kimg"] == 3
    assert config["train"]["seed"] == 7
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run", "--preset", "smoke"], 2, "Missing option '--data'"),
        (["run", "--preset", "smok", "--dry-run"], 2, "did you mean smoke"),
        (
            ["run", "--preset", "smoke", "--set", "train.total_kmg=3", "--dry-run"],
            2,
            "did you mean train.total_kimg",
        ),
        (["resume", "."], 1, "not a run folder"),
        (["video", ".", "--out", "walk.avi"], 2, "'walk.avi' does not end in .mp4"),
        (["import", __file__, "--out", "G.pt"], 2, "'G.pt' does not end in .safetensors"),
        (["bench", "--preset", "smoke"], 2, "either --data FILE.h5 or --synthetic"),
        (
            ["bench", "--preset", "smoke", "--synthetic", "--resolution", 48, "--device", "cpu"],
            1,
            "--resolution 48: smoke has 4, 8, 16, 32",
        ),
    ],
)
def test_mistakes_are_answered_in_one_line(arguments, status, message):
    assert message in call(*arguments, status=status)


def test_a_file_of_another_kind_is_not_a_snapshot(run, tmp_path):
    state = next((run / "states").glob("*.safetensors"))
    message = call("grid", state, "--out", tmp_path / "grid.png", "--device", "cpu", status=1)
    assert "expected a trainer-snapshot file, found trainer-state" in message
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(state.read_bytes()[:100])
    message = call("grid", broken, "--out", tmp_path / "grid.png", "--device", "cpu", status=1)
    assert "not a readable safetensors file" in message


@pytest.mark.parametrize("tf32", [False, True])
def test_images_are_made_in_the_arithmetic_that_was_trained_in(tf32, tmp_path):
    data = write_pyramid(tmp_path / "data.h5", resolution=32)
    networks = {"resolution": 32, "fmap_base": 64, "fmap_max": 8}
    config = tiny_config(
        generator={**networks, "latent_size": 8},
        discriminator=networks,
        schedule={"resolution": 32, "initial_resolution": 32},
        train={"total_kimg": 0.008},
        runtime={"tf32": tf32, "minibatch_gpu": {32: 8}},
    )
    run = start(config, data, tmp_path / "runs")
    save_classifier(tmp_path / "digits.safetensors", DigitClassifier(), {})
    small = ["--columns", 1, "--rows", 1, "--duration", 0.1]
    commands = [
        ["generate", run, "--num", 1, "--out", tmp_path / "fakes"],
        ["grid", run, "--out", tmp_path / "grid.png"],
        ["video", run, "--out", tmp_path / "walk.mp4", *small],
        ["video", "--progress", run, "--out", tmp_path / "progress.mp4", *small],
        ["evaluate", run, "--images", 8],
        ["modes", run, "--classifier", tmp_path / "digits.safetensors", "--samples", 1, "--repeats", 1],
    ]
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    for command in commands:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = not tf32, not tf32, True
        call(*command, "--device", "cpu")
        found = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic)
        assert found == (tf32, tf32, False, True), command[0]
