"""The dress rehearsal: data in the exact layout of the published ones, from pictures of a library.

`tools/rehearse_reconstruct.py` does the same at any length.
"""

import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import rehearse_reconstruct as rehearsal
from click.testing import CliRunner

from celebahq import PyramidReader, ToolError
from celebahq import reconstruct as module
from celebahq.cli import main
from celebahq.files import md5_file
from celebahq.legacy import checks
from celebahq.legacy.checks import check_input
from celebahq.legacy.jpeg import decode_jpeg
from celebahq.legacy.published import md5_array
from celebahq.options import ReconstructOptions
from celebahq.reconstruct import choose_images
from celebahq.sources.celeba import LANDMARKS, index_celeba

IMAGES = 4


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    rehearsal.make_rehearsal(root, IMAGES)
    return root


@pytest.fixture(scope="module")
def straight(tree, tmp_path_factory):
    """The result of an undisturbed run, and what it printed."""
    out = tmp_path_factory.mktemp("straight") / "celeba-hq.h5"
    result = subprocess.run(
        rehearsal.reconstruct_command(tree, out, "--json", "--workers", "2"), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return out, result


@pytest.fixture
def damaged(tree, tmp_path):
    return rehearsal.copy_tree(tree, tmp_path / "damaged")


def run(root, out, *options):
    command = rehearsal.reconstruct_command(root, out, "--workers", "1", *options)
    return CliRunner().invoke(main, command[command.index("reconstruct") :])


def test_every_image_is_the_published_one(tree, straight):
    out, result = straight
    images = rehearsal.images_of(tree)
    assert rehearsal.wrong_images(tree, out) == []
    assert json.loads(result.stdout) == {"file": "celeba-hq.h5", "written": IMAGES, "failed": []}
    assert json.loads(Path(f"{out}.report.json").read_text()) == json.loads(result.stdout)
    assert "self-test skipped" in result.stderr
    with PyramidReader(out) as reader:
        assert len(reader) == IMAGES
        assert reader.resolution == 1024
        assert reader.meta("idx").tolist() == [image.idx for image in images]
        assert reader.meta("orig_idx").tolist() == [image.orig_idx for image in images]
        assert list(reader.meta("source_name")) == [image.orig_file for image in images]
        assert reader.provenance["image_list_md5"] == md5_file(tree / "deltas" / "image_list.txt")
        assert str(tree) not in json.dumps(reader.provenance)
    assert not out.with_name(out.name + ".work").exists()


@pytest.mark.slow
def test_killed_and_resumed_it_is_the_same_bytes(tree, straight, tmp_path):
    out = tmp_path / "celeba-hq.h5"
    command = rehearsal.reconstruct_command(tree, out, "--workers", "2")
    rehearsal.run_with_kills(command, kills=2, rng=random.Random(1), longest_sec=8)
    assert out.read_bytes() == straight[0].read_bytes()


@pytest.mark.slow
def test_what_fails_its_checksums_is_left_out_and_listed(damaged, tmp_path):
    images = rehearsal.images_of(damaged)
    reasons = {
        "wrong_delta": "the delta does not decrypt",
        "other_delta": "final_md5 differs",
        "wrong_jpeg": "proc_md5 differs",
    }
    for image, name in zip(images, reasons, strict=False):
        rehearsal.damages()[name](damaged, image)
    out = tmp_path / "out.h5"
    result = run(damaged, out, "--json")
    assert result.exit_code == 3
    for image, reason in zip(images, reasons.values(), strict=False):
        assert f"not written: {image.orig_file} (image {image.idx}): {reason}" in result.stderr
    report = json.loads(result.stdout)
    assert report["written"] == IMAGES - 3
    assert [(f["idx"], f["orig_file"]) for f in report["failed"]] == [image[::2][:2] for image in images[:3]]
    assert json.loads((tmp_path / "out.h5.report.json").read_text()) == report
    with PyramidReader(out) as reader:
        assert reader.meta("idx").tolist() == [image.idx for image in images[3:]]
    assert rehearsal.wrong_images(damaged, out) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("swapped_landmarks", "proc_md5 differs"),
        ("appended_byte", "the delta does not decrypt"),
        ("truncated_jpeg", "none of 1 items was finished: a damaged JPEG"),
    ],
)
def test_where_nothing_is_left_nothing_is_written(damaged, tmp_path, name, reason):
    image = rehearsal.images_of(damaged)[1]
    rehearsal.damages()[name](damaged, image)
    result = run(damaged, tmp_path / "out.h5", "--indices", str(image.idx))
    assert result.exit_code == 1
    assert reason in result.stderr
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing_zip", "deltas00000.zip: not found"),
        ("truncated_zip", "deltas00000.zip: incomplete or damaged"),
        ("missing_photo", "img_celeba: lacks 1 of 4 photos"),
        ("swapped_landmark_lines", f"{LANDMARKS}: line"),
    ],
)
def test_what_is_missing_is_said_before_any_work(damaged, tmp_path, name, reason):
    rehearsal.damages()[name](damaged, rehearsal.images_of(damaged)[0])
    result = run(damaged, tmp_path / "out.h5")
    assert result.exit_code == 1
    assert reason in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


def test_strict_stops_and_goes_on_when_the_input_is_mended(tree, damaged, tmp_path):
    first, second, *_ = rehearsal.images_of(tree)
    rehearsal.damages()["wrong_delta"](damaged, second)
    options = "--strict", "--indices", f"{first.idx}-{second.idx}"
    result = run(damaged, tmp_path / "out.h5", *options)
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"Error: {second.orig_file} (image {second.idx}): the delta does not decrypt")
    assert not (tmp_path / "out.h5").exists()

    shutil.copytree(tree / "deltas", damaged / "deltas", dirs_exist_ok=True)
    result = run(damaged, tmp_path / "out.h5", *options)
    assert result.exit_code == 0, result.stderr
    assert "1 of 2 were done before" in result.stderr
    assert rehearsal.wrong_images(tree, tmp_path / "out.h5") == []


def test_the_self_test_asks_for_the_published_files(tree, tmp_path, monkeypatch):
    options = ReconstructOptions(tree / "celeba", tree / "deltas", tmp_path / "out.h5")
    images, faces = rehearsal.images_of(tree), index_celeba(tree / "celeba")
    result = CliRunner().invoke(
        main,
        [
            "reconstruct",
            *("--celeba-dir", options.celeba_dir),
            *("--delta-dir", options.delta_dir),
            "-o",
            options.out,
        ],
    )
    assert result.exit_code == 1
    *_, image_list, landmarks, photo = result.stderr.splitlines()
    assert "image_list.txt: not the published file" in image_list
    assert "list_landmarks_celeba.txt: not the published file" in landmarks
    assert "000001.jpg: decodes to pixels with MD5" in photo

    monkeypatch.setattr(checks, "IMAGE_LIST_MD5", md5_file(tree / "deltas" / "image_list.txt"))
    monkeypatch.setattr(checks, "LANDMARKS_MD5", md5_file(tree / "celeba" / LANDMARKS))
    monkeypatch.setattr(checks, "FIRST_PHOTO_MD5", md5_array(decode_jpeg(faces.folder / "000001.jpg")))
    check_input(options.celeba_dir, options.delta_dir, images, faces)
    (tree / "celeba" / "img_celeba" / "000001.jpg").rename(tmp_path / "away.jpg")
    try:
        with pytest.raises(ToolError, match=r"000001\.jpg: no such file"):
            others = [image for image in images if image.orig_idx]
            check_input(options.celeba_dir, options.delta_dir, others, faces)
    finally:
        (tmp_path / "away.jpg").rename(tree / "celeba" / "img_celeba" / "000001.jpg")


def test_the_published_checksums_are_the_facts():
    """Of the real files; from a reconstruction with the old libraries."""
    assert checks.FIRST_PHOTO_MD5 == "9cad8178d6cb0196b36f7b34bc5eb6d3"
    assert checks.LANDMARKS_MD5 == "063ee6ddb681f96bc9ca28c6febb9d1a"
    assert checks.IMAGE_LIST_MD5 == "de6acbbe07e8d150ad79b6ffe7d016b3"


def test_indices_choose_among_the_listed(tree):
    images = rehearsal.images_of(tree)
    options = ReconstructOptions(tree, tree, tree, indices=[images[2].idx, images[0].idx])
    assert choose_images(images, options) == [images[0], images[2]]
    options = ReconstructOptions(tree, tree, tree, indices=[7])
    with pytest.raises(ToolError, match=r"--indices: image_list\.txt has no image 7; it lists 4"):
        choose_images(images, options)


@pytest.mark.parametrize("ranges", ["5-2", "a", "1,,2", "-3", "0-99999999999", "1.5"])
def test_ranges_that_are_none(tmp_path, ranges):
    folders = "--celeba-dir", tmp_path, "--delta-dir", tmp_path
    result = CliRunner().invoke(main, ["reconstruct", *folders, "-o", "x.h5", "--indices", ranges])
    assert result.exit_code == 2
    assert "Invalid value for '--indices'" in result.stderr


def test_extras_that_are_missing_are_said_at_once(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda package: None if package == "jpeglib" else True)
    result = run(tree, tmp_path / "out.h5")
    assert result.exit_code == 1
    assert "'jpeglib', which is not installed: pip install 'celebahq-toolkit[reconstruct]'" in result.stderr


def test_an_existing_file_is_not_replaced(tree, tmp_path):
    (tmp_path / "out.h5").write_text("mine")
    result = run(tree, tmp_path / "out.h5")
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert (tmp_path / "out.h5").read_text() == "mine"


def test_a_dry_run_checks_and_begins_nothing(tree, tmp_path):
    result = run(tree, tmp_path / "new" / "out.h5", "--dry-run", "--workers", "2")
    assert result.exit_code == 0
    configuration = json.loads(result.stdout)
    assert (configuration["images"], configuration["workers"]) == (IMAGES, 2)
    assert configuration["out"] == str(tmp_path / "new" / "out.h5")
    assert "their photos, landmarks and deltas are there" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("indices", "zips"),
    [
        (["--indices", "0-1999"], r"deltas00000\.zip to deltas01000\.zip \(2 zips\)"),
        (["--indices", "4321"], r"deltas04000\.zip"),
        ([], r"deltas00000\.zip to deltas29000\.zip \(30 zips\)"),
    ],
)
def test_a_dry_run_without_any_download_says_what_is_needed(tmp_path, indices, zips):
    folders = ["--celeba-dir", str(tmp_path), "--delta-dir", str(tmp_path)]
    arguments = ["reconstruct", *folders, "-o", str(tmp_path / "x.h5"), "--dry-run", *indices]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert re.search(rf"image_list\.txt: not found; it and {zips} are needed", result.stderr)
