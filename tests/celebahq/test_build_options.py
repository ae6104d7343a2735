"""What `celebahq build` can be asked for, and what it refuses before the work."""

import json
import shutil

import pytest
from building import NO_NETWORKS
from click.testing import CliRunner

from celebahq.build import _resolved
from celebahq.cli import main
from celebahq.errors import ToolError
from celebahq.jobs.worker import WORKER_NUMBER


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "give either --celeba-dir DIR or --photos DIR"),
        (["--photos", ".", "--celeba-dir", "."], "give either"),
        (["--photos", "nowhere"], "Directory 'nowhere' does not exist"),
        (["--photos", ".", "--labels", "attributes"], "--labels has no meaning with --photos"),
        (["--celeba-dir", ".", "--keep-duplicates"], "--keep-duplicates has no meaning with --celeba-dir"),
        (["--celeba-dir", ".", "--select", "largest"], "--select has no meaning with --celeba-dir"),
        (["--photos", ".", "--max-outside", "2"], "2.0 is not in the range 0<=x<=1"),
        (["--photos", ".", "--resolution", "300"], "'300' is not one of"),
        (["--photos", ".", "--keep", "0"], "0 is not in the range x>=1"),
        (["--photos", ".", "--sharpen"], "No such option"),
    ],
)
def test_wrong_usage_is_told_with_status_2(options, complaint):
    result = CliRunner().invoke(main, ["build", "--out", "x.h5", *options])
    assert result.exit_code == 2
    assert complaint in result.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--photos", "{empty}", *NO_NETWORKS], "no pictures in it (found nothing); looked for .jpg"),
        (["--celeba-dir", "{empty}", *NO_NETWORKS], "has no folder img_celeba with CelebA's photos; from"),
        (
            ["--photos", "{photos}", "--sr-model", "none", "--jpeg-model", "gone.safetensors"],
            "no such weight",
        ),
        (["--photos", "{photos}", *NO_NETWORKS, "--device", "cuda:99"], "--device cuda:99: PyTorch finds"),
    ],
)
def test_what_is_missing_is_told_with_status_1(photos, tmp_path, options, complaint):
    empty = tmp_path / "empty"
    empty.mkdir()
    options = [option.format(empty=empty, photos=photos) for option in options]
    result = CliRunner().invoke(main, ["build", "--out", str(tmp_path / "x.h5"), "--workers", "1", *options])
    assert result.exit_code == 1
    assert complaint in result.stderr
    assert not (tmp_path / "x.h5").exists()


def test_a_dry_run_prints_the_configuration_and_does_nothing(photos, tmp_path):
    out = tmp_path / "x.h5"
    arguments = [
        "build",
        "--photos",
        str(photos),
        "--out",
        str(out),
        "--keep",
        "5",
        "--dry-run",
        *NO_NETWORKS,
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    configuration = json.loads(result.stdout)
    assert (configuration["photos"], configuration["keep"], configuration["resolution"]) == (6, 5, 1024)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("device", "expected"), [("auto", "0 1 2 0"), ("cuda", "0 1 2 0"), ("cuda:2", "2 2 2 2")]
)
def test_the_gpus_of_a_machine_are_shared_out_among_its_workers(monkeypatch, device, expected):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    found = []
    for number in range(4):
        monkeypatch.setenv(WORKER_NUMBER, str(number))
        found.append(_resolved(device))
    assert found == [f"cuda:{index}" for index in expected.split()]


def test_too_little_disk_is_told_before_the_work(tmp_path, monkeypatch):
    from celebahq.jobs.disk import require_space
    from celebahq.jobs.options import JobOptions

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 10**9))
    require_space(tmp_path / "x.h5", 100, None, 1024, JobOptions(codec="gzip"))
    with pytest.raises(ToolError, match=r"1\.7 TB are needed, 1 GB are free"):
        require_space(tmp_path / "x.h5", 202_599, None, 1024, JobOptions(codec="none"))
    with pytest.raises(ToolError, match=r"950 GB are needed, 1 GB"):  # the images once, and a file in work
        require_space(tmp_path / "x", 202_599, None, 1024, JobOptions(codec="none", shard_size=100))
    with pytest.raises(ToolError, match=r"302 GB are needed, 1 GB"):  # 30,000 images, three times
        require_space(tmp_path / "x.h5", 202_599, 30_000, 1024, JobOptions(codec="gzip"))
