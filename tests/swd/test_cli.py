import csv
import json
import os
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image

from celebahq.errors import ToolError
from swd.cli import main
from swd.comparison import make_cache
from swd.pipeline.resources import Resources


def run(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def small(tmp_path_factory, noise, save_images):
    """A folder of 6 reals and one of 5 fakes, 16 px."""
    parent = tmp_path_factory.mktemp("small")
    return (
        save_images(parent / "reals", noise(6, 16, seed=1)),
        save_images(parent / "fakes", noise(5, 16, seed=2)),
    )


@pytest.fixture(scope="module")
def result(small):
    result = run("compare", *small, "--json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_compare_prints_json_and_nothing_else(small, result):
    assert result["real"] == str(small[0])
    assert result["fake"] == str(small[1])
    assert (result["images"], result["resolution"], result["seed"]) == (5, 16, 0)
    assert list(result["swd"]["levels"]) == ["16"]
    assert result["swd"]["average"]["value"] == result["swd"]["levels"]["16"]["value"] > 0
    assert set(result["swd"]["average"]) == {"value", "se", "se_directions", "se_images"}
    assert result["reference"]["disjoint"]["images"] == 3
    assert result["reference"]["fresh_patches"]["images"] == 5


def test_compare_prints_a_table_with_the_same_figures(small, result):
    table = run("compare", *small, "--device", "cpu")
    assert table.exit_code == 0
    average = result["swd"]["average"]
    line = next(line for line in table.stdout.splitlines() if line.startswith(str(small[1])))
    assert line.endswith(f"{average['value']:.2f} ± {average['se']:.2f}")
    assert "The same without what so few images amount to" in table.stdout
    assert "reals, fresh patches" in table.stdout
    assert "reals, disjoint 3" in table.stdout
    assert "5 images of 16 px per set" in table.stdout
    assert "5/5 images" in table.stderr


def test_compare_prints_csv(small, result):
    rows = list(csv.DictReader(run("compare", *small, "--csv", "--device", "cpu").stdout.splitlines()))
    found = {(row["set"], row["metric"], row["level"]): row for row in rows}
    for metric in ("swd", "swd_corrected"):
        row = found[str(small[1]), metric, "average"]
        assert float(row["value"]) == result[metric]["average"]["value"]
        assert row["images"] == "5"
    assert found["reals, disjoint 3", "swd", "16"]["images"] == "3"
    assert ("reals, fresh patches", "swd", "16") in found
    assert {row["metric"] for row in rows} == {"swd", "swd_corrected"}


def test_compare_draws_a_picture(small, tmp_path):
    path = tmp_path / "swd.png"
    assert run("compare", *small, "--plot", path, "--device", "cpu").exit_code == 0
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    # Bars in the first three of matplotlib's colours: fakes and two reference rows.
    for colour in ((31, 119, 180), (255, 127, 14), (44, 160, 44)):
        assert (pixels == colour).all(axis=2).sum() > 500


def test_ms_ssim_stands_beside_the_distance(small):
    result = run("compare", *small, "--metrics", "swd,msssim", "--json", "--device", "cpu")
    values = json.loads(result.stdout)
    assert values["ms_ssim"]["pairs"] == 10
    assert 0 <= values["real_ms_ssim"]["value"] <= 1
    assert "swd" in values
    table = run("compare", *small, "--metrics", "msssim", "--device", "cpu").stdout
    assert "MS-SSIM between 10 pairs" in table
    assert "Wasserstein" not in table


@pytest.mark.parametrize("sets", [1, 9])
def test_the_legend_hides_nothing(small, tmp_path, monkeypatch, sets):
    """Its box and that of the axes have nothing in common."""
    boxes = []

    def saved(figure, *args, **kwargs):
        figure.draw_without_rendering()
        boxes.extend([figure.axes[0].get_tightbbox(), figure.legends[0].get_window_extent()])
        return savefig(figure, *args, **kwargs)

    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", saved)
    out = tmp_path / "p.png"
    result = run("compare", small[0], *small[1:] * sets, "--device", "cpu", "--plot", out)
    assert result.exit_code == 0
    assert f"{out}: distances of {sets} sets" in result.stderr
    axes, legend = boxes
    assert legend.y1 <= axes.y0
    assert legend.x0 >= 0
    assert legend.x1 <= 9 * 100  # of the figure


def test_warnings_are_said_to_those_who_want_to_hear_little_too(small, noise, tmp_path):
    (tmp_path / "fakes").mkdir()
    for i, image in enumerate(noise(6, 16, seed=3)):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "fakes" / f"{i}.jpg")
    quiet = run("compare", small[0], tmp_path / "fakes", "--device", "cpu", "-q").stderr.splitlines()
    assert len(quiet) == 1
    assert quiet[0].startswith("warning: ")
    assert "JPEG or WebP files" in quiet[0]


def test_track_gives_every_set_in_one_table_and_picture(small, result, tmp_path):
    path = tmp_path / "track.png"
    tracked = run("track", small[0], small[1], small[0], "--json", "--plot", path, "--device", "cpu")
    assert tracked.exit_code == 0, tracked.output
    values = json.loads(tracked.stdout)
    assert [entry["fake"] for entry in values["sets"]] == [str(small[1]), str(small[0])]
    assert values["sets"][0]["swd"] == result["swd"]
    with Image.open(path) as picture:
        assert picture.width > 500


def test_cache_is_written_once_and_gives_the_same_figures(small, result, tmp_path):
    path = tmp_path / "reals.swd.safetensors"
    written = run("cache", small[0], "-o", path, "--images", 5, "--device", "cpu")
    assert written.exit_code == 0, written.output
    assert "GB for each of 1 levels" in written.stderr
    again = run("cache", small[0], "-o", path, "--images", 5)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    compared = run("compare", path, small[1], "--json", "--device", "cpu")
    values = json.loads(compared.stdout)
    assert values["swd"] == result["swd"]
    assert values["reference"] == result["reference"]


def test_a_cache_needs_its_ending_and_room(small, tmp_path, monkeypatch):
    other = run("cache", small[0], "-o", tmp_path / "reals.h5")
    assert other.exit_code == 2
    assert "does not end in .safetensors" in other.stderr
    with pytest.raises(ToolError, match=r"the name of a cache ends in \.safetensors"):
        make_cache(small[0], tmp_path / "reals.h5", resources=Resources(torch.device("cpu"), 1))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    full = run("cache", small[0], "-o", tmp_path / "new" / "reals.safetensors", "--device", "cpu")
    assert full.exit_code == 1
    assert "choose another place, or use fewer --images" in full.stderr


def test_an_existing_picture_is_kept_and_said_before_the_work(small, tmp_path):
    path = tmp_path / "swd.png"
    path.write_text("mine")
    refused = run("compare", *small, "--plot", path)
    assert refused.exit_code == 1
    assert "exists already" in refused.stderr
    assert "images/s" not in refused.stderr
    assert path.read_text() == "mine"


def test_a_picture_that_cannot_be_written_is_said_before_the_work(small, tmp_path):
    (tmp_path / "file").touch()
    refused = run("compare", *small, "--plot", tmp_path / "file" / "swd.png")
    assert refused.exit_code == 1
    assert "file: not a folder" in refused.stderr
    assert "images/s" not in refused.stderr


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["$x_{$", "_under", "a\nb", os.fsdecode(b"\xff")])
def test_any_name_is_drawn_and_printed_on_one_line(small, result, tmp_path, name):
    fakes = tmp_path / name
    fakes.symlink_to(small[1])
    picture = tmp_path / "swd.png"
    done = CliRunner().invoke(
        main, ["track", str(small[0]), str(fakes), "--plot", str(picture), "--device", "cpu"]
    )
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 13
    with Image.open(picture) as image:
        image.verify()


def test_a_picture_that_cannot_be_drawn_costs_no_figures(small, result, tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", Mock(side_effect=OSError("disk full")))
    failed = run("compare", *small, "--plot", tmp_path / "swd.png", "--json", "--device", "cpu")
    assert failed.exit_code == 1
    assert json.loads(failed.stdout) == result
    assert "disk full" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "9"], "5 images, but --images asks for 9"),
        (["--resolution", "32"], "images are never enlarged"),
        (["--device", "cuda:99"], "CUDA devices"),
        (["--metrics", "fid"], "pip install 'celebahq-toolkit[fidelity]'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(small, arguments, message):
    failed = run("compare", *small, *arguments)
    assert failed.exit_code == 1
    assert message in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("Error: ")
    assert failed.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--metrics", "psnr"],
        ["--json", "--csv"],
        ["--metrics", "msssim", "--plot", "x.png"],
        ["--plot", "x.txt"],
        ["--workers", "99999999999"],
        ["--nope"],
        ["--baseline", "nosuch"],
        ["--resolution", "17"],
        ["--paired"],
    ],
)
def test_wrong_usage_is_status_2(small, arguments):
    assert run("compare", *small, *arguments).exit_code == 2


def test_options_against_those_of_a_cache_are_wrong_usage(small, tmp_path):
    path = tmp_path / "reals.safetensors"
    make_cache(small[0], path, images=5, seed=3, resources=Resources(torch.device("cpu"), 1))
    for arguments, message in (
        (["--seed", "3", "--images", "4"], "made with --images 5, not 4"),
        ([], "made with --seed 3, not 0; ask for that"),
    ):
        failed = run("compare", path, small[1], *arguments)
        assert failed.exit_code == 2
        assert message in failed.stderr


def test_copies_are_warned_of_on_either_side(small, tmp_path, noise):
    copies = tmp_path / "copies.npy"
    np.save(copies, np.repeat(noise(2, 16, seed=5), 3, axis=0))
    cache = tmp_path / "reals.safetensors"
    warning = "copies.npy: 6 images, of which 2 are different"
    assert warning in run("cache", copies, "-o", cache, "--images", 6, "--device", "cpu").stderr
    for sides in ((copies, small[0]), (cache, small[0]), (small[0], copies)):
        compared = run("compare", *sides, "--device", "cpu", "-q")
        assert compared.exit_code == 0
        assert compared.stderr.count(warning) == 1


def test_pictures_name_sets_whose_folders_are_called_alike(small, tmp_path, monkeypatch):
    sets = [tmp_path / run_name / "fakes" for run_name in ("a", "b")]
    for path in sets:
        path.parent.mkdir()
        path.symlink_to(small[1])
    ticks = []
    keep = Figure.savefig

    def save(figure, *arguments, **options):
        ticks.extend(label.get_text() for label in figure.axes[0].get_xticklabels())
        keep(figure, *arguments, **options)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", save)
    assert run("track", small[0], *sets, "--plot", tmp_path / "x.png", "--device", "cpu").exit_code == 0
    assert ticks == [str(path) for path in sets]


def test_a_damaged_image_is_named(small, tmp_path):
    path = tmp_path / "bad.png"
    path.write_bytes((small[0] / "a" / "000.png").read_bytes()[:-40])
    failed = run("compare", small[0], tmp_path, "--device", "cpu")
    assert failed.exit_code == 1
    assert "bad.png: cannot be decoded" in failed.stderr


@pytest.mark.slow
def test_two_processes_print_the_figures_of_one(small, result):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "swd", "compare", *map(str, small), "--json", "--device", "cpu"]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ})
    values = json.loads(found.stdout)
    assert values["reference"]["disjoint"]["images"] == result["reference"]["disjoint"]["images"]
    for row in ("swd", "swd_corrected", "reference"):
        assert_equal_up_to_rounding(values[row], result[row])


def assert_equal_up_to_rounding(found, expected):
    """Matrix products of other shapes round otherwise in float32, which differences of squares enlarge."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_equal_up_to_rounding(found[key], expected[key])
    elif expected is None:
        assert found is None
    else:
        assert found == pytest.approx(expected, rel=1e-5)
