import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from click.testing import CliRunner
from PIL import Image

from celebahq.cli import main
from celebahq.restore.checkpoints import save_network
from celebahq.restore.degrade import Photo, jpeg
from celebahq.restore.networks import Network
from celebahq.restore.photos import at_size_of


@pytest.fixture
def models(tmp_path: Path, deblocker: Network, enlarger: Network) -> list[str]:
    for name, network in (("d", deblocker), ("e", enlarger)):
        save_network(tmp_path / f"{name}.safetensors", network, {})
    return ["--jpeg-model", str(tmp_path / "d.safetensors"), "--sr-model", str(tmp_path / "e.safetensors")]


def write(path: Path, image: Photo) -> str:
    cv2.imwrite(str(path), image[..., ::-1])
    return str(path)


def test_restore_writes_skips_and_counts(tmp_path: Path, photo: Photo, models: list[str]):
    good = write(tmp_path / "good.png", photo[:40, :31])
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"nothing")
    out = tmp_path / "out"
    command = [
        "restore",
        good,
        str(bad),
        "--out",
        str(out),
        *models,
        "--device",
        "cpu",
        "--compare",
        "--json",
    ]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert report["written"] == [str(out / "good.png"), str(out / "good.compare.png")]
    assert list(report["skipped"]) == [str(bad)]
    assert len(report["networks"]) == 2
    before, after = np.hsplit(cv2.imread(str(out / "good.compare.png")), 2)
    error = np.mean((before.astype(float) - after) ** 2)
    assert report["likeness"][str(good)]["psnr_db"] == pytest.approx(10 * np.log10(255**2 / error))
    assert f"{good} and its result: PSNR" in result.stderr
    assert cv2.imread(str(out / "good.png")).shape == (160, 124, 3)
    assert cv2.imread(str(out / "good.compare.png")).shape == (160, 248, 3)
    assert sorted(p.name for p in out.iterdir()) == ["good.compare.png", "good.png"]


def test_results_that_are_there_are_kept_unless_told(tmp_path: Path, photo: Photo, models: list[str]):
    command = ["restore", write(tmp_path / "a.png", photo[:16, :16]), "--out", str(tmp_path / "out"), *models]
    command += ["--device", "cpu"]
    target = tmp_path / "out/a.png"
    target.parent.mkdir()
    target.write_bytes(b"mine")
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 3
    assert f"{target}: exists already, and is not the result of this photo" in refused.stderr
    assert target.read_bytes() == b"mine"
    assert CliRunner().invoke(main, [*command, "--overwrite"]).exit_code == 0
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 0
    assert "0 files written, 1 was there already; 0 photos skipped" in again.stderr


@pytest.mark.parametrize("changed", ["photo", "network", "strength", "stages"])
def test_what_was_made_of_other_photos_or_by_other_networks_is_no_result(
    tmp_path: Path, photo: Photo, models: list[str], enlarger: Network, changed: str
):
    path, out = write(tmp_path / "a.png", photo[:16, :16]), tmp_path / "out"
    command = ["restore", path, "--out", str(out), *models, "--device", "cpu"]
    assert CliRunner().invoke(main, [*command, "--compare"]).exit_code == 0
    before = {each.name: each.read_bytes() for each in out.iterdir()}
    if changed == "photo":
        write(tmp_path / "a.png", photo[16:32, :16])
    elif changed == "network":
        enlarger.get_parameter("tail.weight").zero_()
        save_network(tmp_path / "e.safetensors", enlarger, {})
    command += {"strength": ["--jpeg-strength", "0.5"], "stages": ["--jpeg-model", "none"]}.get(changed, [])
    for more in ([], ["--compare"]):
        other = CliRunner().invoke(main, [*command, *more])
        assert other.exit_code == 3
        assert f"skipped {path}: {out / 'a.png'}: exists already, and is not the result" in other.stderr
        assert "PSNR" not in other.stderr
        assert "0 files written; 1 photo skipped" in other.stderr
    assert {each.name: each.read_bytes() for each in out.iterdir()} == before
    anew = CliRunner().invoke(main, [*command, "--compare", "--overwrite"])
    assert "2 files written; 0 photos skipped" in anew.stderr
    assert all((out / name).read_bytes() != data for name, data in before.items())


def test_the_photos_of_a_folder_keep_their_places(tmp_path: Path, photo: Photo, models: list[str]):
    (tmp_path / "photos/more").mkdir(parents=True)
    write(tmp_path / "photos/a.png", photo[:16, :16])
    write(tmp_path / "photos/more/a.jpg", photo[16:32, :16])
    out = tmp_path / "photos/restored"  # what lies there is no photo
    command = ["restore", str(tmp_path / "photos"), "--out", str(out), *models, "--device", "cpu", "--json"]
    first, again = (CliRunner().invoke(main, command) for _ in range(2))
    assert first.exit_code == again.exit_code == 0
    assert json.loads(first.stdout)["written"] == [str(out / "a.png"), str(out / "more/a.png")]
    assert json.loads(again.stdout)["kept"] == [str(out / "a.png"), str(out / "more/a.png")]


@pytest.mark.parametrize("out", ["photos", ".", "photos/more"])
def test_results_among_the_photos_are_told_from_them(
    tmp_path: Path, photo: Photo, models: list[str], monkeypatch: pytest.MonkeyPatch, out: str
):
    (tmp_path / "photos/more").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo[:16, :16]).save("photos/a.jpg")
    Image.fromarray(photo[16:32, :16]).save("photos/more/b.jpg")
    command = ["restore", "photos", "--out", out, *models, "--device", "cpu", "--compare", "--json"]
    first, again = (CliRunner().invoke(main, command) for _ in range(2))
    assert first.exit_code == again.exit_code == 0, again.stderr
    results = [f"{name}{ending}" for name in ("a", "more/b") for ending in (".png", ".compare.png")]
    assert json.loads(first.stdout)["written"] == [str(Path(out) / name) for name in results]
    assert json.loads(again.stdout)["kept"] == json.loads(first.stdout)["written"]
    assert ("photos: 4 results of earlier runs are left out" in again.stderr) == (out != ".")


def test_a_folder_of_results_alone_is_an_error(tmp_path: Path, photo: Photo, models: list[str]):
    path, out = write(tmp_path / "a.png", photo[:16, :16]), str(tmp_path / "out")
    assert CliRunner().invoke(main, ["restore", path, "--out", out, *models]).exit_code == 0
    result = CliRunner().invoke(main, ["restore", out, "--out", out, *models])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"Error: {out}: holds no photos, only results of earlier runs (1)"
    )


def test_two_photos_of_one_name_are_refused(tmp_path: Path, photo: Photo, models: list[str]):
    (tmp_path / "b").mkdir()
    photos = [write(tmp_path / "a.png", photo[:16, :16]), write(tmp_path / "b/a.jpg", photo[:16, :16])]
    result = CliRunner().invoke(
        main, ["restore", *photos, "--out", str(tmp_path / "out"), *models, "--device", "cpu"]
    )
    assert result.exit_code == 1
    assert "both would become" in result.stderr


def test_a_stage_can_be_left_out_but_not_both(tmp_path: Path, photo: Photo, models: list[str]):
    path = write(tmp_path / "a.png", photo[:20, :20])
    base = ["restore", path, "--out", str(tmp_path / "out"), "--device", "cpu", *models]
    assert CliRunner().invoke(main, [*base, "--sr-model", "none"]).exit_code == 0
    assert cv2.imread(str(tmp_path / "out/a.png")).shape == (20, 20, 3)
    assert CliRunner().invoke(main, [*base, "--sr-model", "none", "--jpeg-model", "none"]).exit_code == 2


@pytest.mark.parametrize(
    ("stage", "network", "said"),
    [
        ("--jpeg-model", "e", "it enlarges 4 times; this stage's network must keep the size"),
        ("--sr-model", "d", "it keeps the size; this stage's network must enlarge"),
    ],
)
@pytest.mark.parametrize("command", ["restore", "build"])
def test_a_network_of_the_other_stages_kind_is_wrong_usage(
    tmp_path: Path, photo: Photo, models: list[str], stage: str, network: str, said: str, command: str
):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/a.png", photo[:20, :20])
    other = str(tmp_path / f"{network}.safetensors")
    given = {"restore": [str(tmp_path / "in"), "--out", str(tmp_path / "out")]}
    given["build"] = ["--photos", str(tmp_path / "in"), "--out", str(tmp_path / "out.h5"), "--workers", "1"]
    result = CliRunner().invoke(main, [command, *given[command], "--device", "cpu", *models, stage, other])
    assert result.exit_code == 2, result.output
    assert result.stderr.splitlines()[-1] == f"Error: {stage} {other}: {said}"
    assert not list(tmp_path.glob("out*"))


def test_a_result_beyond_the_limit_is_skipped(
    tmp_path: Path, photo: Photo, models: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("celebahq.restore.photos.MAX_RESULT_PIXELS", 1000)
    path = write(tmp_path / "a.png", photo[:20, :20])
    out = str(tmp_path / "out")
    result = CliRunner().invoke(main, ["restore", path, "--out", out, *models, "--device", "cpu"])
    assert result.exit_code == 3
    assert "80x80" in result.stderr
    assert "no blocks" not in result.stderr  # nothing was done to it


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_skipped_and_not_waited_for(tmp_path: Path, models: list[str]):
    os.mkfifo(tmp_path / "a.jpg")
    result = CliRunner().invoke(
        main, ["restore", str(tmp_path / "a.jpg"), "-o", str(tmp_path / "out"), *models]
    )
    assert result.exit_code == 3
    assert f"skipped {tmp_path / 'a.jpg'}: a pipe or device, not a file" in result.stderr


def test_the_left_half_of_a_comparison_is_the_photo_at_the_results_size(photo: Photo):
    after = np.zeros((40, 60, 3), np.uint8)
    enlarged = at_size_of(after, photo[:10, :15])
    lanczos = Image.fromarray(photo[:10, :15]).resize((60, 40), Image.Resampling.LANCZOS)
    assert np.abs(enlarged.astype(int) - np.asarray(lanczos)).mean() < 2  # its window is one pixel wider
    assert at_size_of(after, after) is after


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_a_photo_is_never_replaced_by_its_result(tmp_path: Path, photo: Photo, models: list[str], options):
    path = Path(write(tmp_path / "a.png", photo[:16, :16]))
    before = path.read_bytes()
    result = CliRunner().invoke(main, ["restore", str(path), "--out", str(tmp_path), *models, *options])
    assert result.exit_code == 1
    assert "a.png: a photo itself" in result.stderr
    assert path.read_bytes() == before


def test_comparisons_are_kept_added_and_told_apart(tmp_path: Path, photo: Photo, models: list[str]):
    path, out = write(tmp_path / "a.png", photo[:16, :16]), tmp_path / "out"
    command = ["restore", path, "--out", str(out), *models, "--device", "cpu"]
    assert CliRunner().invoke(main, command).exit_code == 0
    added = CliRunner().invoke(main, [*command, "--compare"])
    assert "1 file written, 1 was there already; 0 photos skipped" in added.stderr
    assert cv2.imread(str(out / "a.compare.png")).shape == (64, 128, 3)
    (out / "a.compare.png").write_bytes(b"mine")
    refused = CliRunner().invoke(main, [*command, "--compare"])
    assert f"{out / 'a.compare.png'}: exists already, and is not the result" in refused.stderr
    assert (out / "a.compare.png").read_bytes() == b"mine"
    other = write(tmp_path / "a.compare.jpg", photo[:16, :16])
    clash = CliRunner().invoke(main, [*command, other, "--compare"])
    assert clash.exit_code == 1
    assert "both would become" in clash.stderr


def test_a_result_that_no_png_can_hold_is_skipped(
    tmp_path: Path, photo: Photo, models: list[str], monkeypatch: pytest.MonkeyPatch
):
    path = write(tmp_path / "a.png", photo[:16, :16])
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    result = CliRunner().invoke(main, ["restore", path, "--out", str(tmp_path / "out"), *models])
    assert result.exit_code == 3
    assert "too many for a PNG" in result.stderr


def test_photos_without_compression_are_named(tmp_path: Path, models: list[str]):
    whole = skimage.data.astronaut()[:200, :200]
    lossless = write(tmp_path / "lossless.png", whole)
    compressed = write(tmp_path / "compressed.png", jpeg(whole, 40))
    larger = write(tmp_path / "larger.png", np.asarray(Image.fromarray(jpeg(whole, 20)).resize((400, 400))))
    good = tmp_path / "good.jpg"
    Image.fromarray(whole).save(good, quality=98)
    command = ["restore", lossless, compressed, larger, str(good), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*command, *models[:2], "--sr-model", "none", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["without_blocks"] == [lossless]
    assert f"{lossless}: no JPEG, and no blocks in it" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--jpeg-strength", "0.5", "--jpeg-model", "none"], "no meaning"),
        (["--jpeg-strength", "nan"], "not between 0 and 1"),
    ],
)
def test_options_that_do_not_fit_the_networks_are_wrong_usage(
    tmp_path: Path, photo: Photo, options: list[str], said: str
):
    result = CliRunner().invoke(
        main, ["restore", write(tmp_path / "a.png", photo), "--out", str(tmp_path / "out"), *options]
    )
    assert result.exit_code == 2
    assert said in result.output
