"""`celebahq build` on two portraits and on everything that a folder of photos holds besides."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import skimage
from click.testing import CliRunner
from PIL import Image

from celebahq.align.crop import align_face, plan_crop
from celebahq.align.quality import build_score
from celebahq.build import FaceTask, _resolved, describe, restore_crop
from celebahq.build_index import index
from celebahq.cli import main
from celebahq.errors import ToolError
from celebahq.jobs.engine import InProcess
from celebahq.jobs.scratch import owning_folder
from celebahq.jobs.worker import WORKER_NUMBER
from celebahq.options import BuildOptions, PhotoSource
from celebahq.pictures.decoding import load_photo
from celebahq.pyramid import PyramidReader
from celebahq.sources.records import FaceIndex

NO_NETWORKS = ["--jpeg-model", "none", "--sr-model", "none"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two faces; beside them what is found in real folders."""
    folder = tmp_path_factory.mktemp("photos")
    astronaut = Path(skimage.__file__).parent / "data" / "astronaut.png"
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    (folder / "more").mkdir()
    shutil.copy(astronaut, folder / "b.png")
    shutil.copy(hopper, folder / "a.jpg")
    shutil.copy(hopper, folder / "more" / "again.jpg")
    Image.open(astronaut).convert("RGB").resize((400, 400)).save(folder / "smaller.jpg", quality=80)
    (folder / "broken.jpg").write_bytes(hopper.read_bytes()[:20000])
    Image.linear_gradient("L").resize((300, 300)).save(folder / "sky.png")
    (folder / "notes.txt").write_text("not a photo")
    return folder


def build(*options):
    command = [sys.executable, "-m", "celebahq", "build", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def built(photos, tmp_path_factory):
    """The folder of a finished build, and how it ended."""
    out = tmp_path_factory.mktemp("built") / "faces.h5"
    result = build(
        "--photos", photos, "--out", out, "--resolution", 256, "--workers", 2, "--json", *NO_NETWORKS
    )
    return out, result


def test_a_build_makes_a_pyramid_of_the_faces_it_found(built):
    out, result = built
    assert result.returncode == 3, result.stderr  # one photo is broken
    with PyramidReader(out) as pyramid:
        assert pyramid.levels == [256, 128, 64, 32, 16, 8, 4, 2, 1]
        assert pyramid.meta("source_name").tolist() == ["a.jpg", "b.png"]
        assert pyramid.meta("orig_idx").tolist() == [0, 1]
        assert sorted(pyramid.meta("quality_rank")) == [0, 1]
        assert pyramid.meta("landmarks").shape == (2, 5, 2)
        assert pyramid.meta("quad").shape == (2, 4, 2)


def test_what_the_detector_doubts_and_what_was_outside_cost_score(built, photos):
    with PyramidReader(built[0]) as pyramid:
        for i, name in enumerate(pyramid.meta("source_name")):
            photo = load_photo(photos / name)
            region = plan_crop(*photo.shape[:2], pyramid.meta("landmarks")[i]).cut(photo)
            image = np.ascontiguousarray(pyramid.read([i])[0].transpose(1, 2, 0))
            outside, confidence = (pyramid.meta(key)[i] for key in ("outside", "detector_score"))
            expected = build_score(image, region, outside=outside, confidence=confidence)
            assert pyramid.meta("quality_score")[i] == pytest.approx(expected)
            assert expected < build_score(image, region)


def test_without_networks_the_images_are_those_of_align_face(built, photos):
    out, _ = built
    with PyramidReader(out) as pyramid:
        for i, name in enumerate(pyramid.meta("source_name")):
            expected = align_face(load_photo(photos / name), pyramid.meta("landmarks")[i], 256)
            np.testing.assert_array_equal(pyramid.read([i])[0].transpose(1, 2, 0), expected)


def test_every_photo_is_accounted_for(built):
    out, result = built
    summary = json.loads(result.stdout)
    report = json.loads((out.parent / "build-report.json").read_text())
    assert summary["counts"] == report["counts"]
    assert report["counts"] == {
        "photos": 6,
        "unreadable_photos": 1,
        "photos_without_a_face": 1,
        "photos_that_repeat_another_one": 2,
        "photos_left_out_by_name": 0,
        "faces_left_out": 0,
        "faces": 2,
        "skipped_for_an_error": 0,
        "left_out_by_the_ranking": 0,
        "kept": 2,
    }
    reasons = {skip["name"]: (skip["reason"], skip["failure"]) for skip in report["skipped"]}
    assert reasons.keys() == {"broken.jpg", "sky.png", "smaller.jpg", "more/again.jpg"}
    assert reasons["broken.jpg"][1]
    assert reasons["sky.png"] == ("no face found", False)
    assert reasons["more/again.jpg"] == ("the same file as a.jpg", False)
    assert reasons["smaller.jpg"] == ("the same picture as b.png", False)
    assert f"skipped broken.jpg: {reasons['broken.jpg'][0]}" in result.stderr


def test_what_is_not_done_is_said_aloud(built):
    out, result = built
    for notice in ("--jpeg-model none: JPEG artifacts are not removed", "--sr-model none: small faces are"):
        assert notice in result.stderr
        assert notice in (out.parent / "build-report.html").read_text()
    provenance = PyramidReader(out).provenance
    assert (provenance["jpeg_model"], provenance["sr_model"]) == ("none", "none")
    assert set(PyramidReader(out).meta("super_resolution")) == {"none"}


def test_nothing_of_the_machine_is_in_the_file(built, photos):
    out, _ = built
    provenance = json.dumps(PyramidReader(out).provenance)
    data = out.read_bytes()
    for word in (str(photos), str(out.parent), "workers"):
        assert word not in provenance
        assert word.encode() not in data
    assert os.uname().nodename not in provenance


def test_the_page_needs_no_other_file(built):
    page = (built[0].parent / "build-report.html").read_text()
    assert page.count("<img src=") >= 5
    assert set(re.findall(r'(?:src|href)="(.{10})', page)) == {"data:image"}
    assert "http" not in page


def test_the_scratch_is_gone(built):
    assert {path.name for path in built[0].parent.iterdir()} == {
        "faces.h5",
        "build-report.json",
        "build-report.html",
    }


@pytest.fixture(scope="module")
def celeba(photos, built, tmp_path_factory):
    """A folder of CelebA's shape with the same two photos; one with an EXIF orientation to be ignored."""
    folder = tmp_path_factory.mktemp("celeba")
    (folder / "img_celeba").mkdir()
    (folder / "Anno").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photos / "a.jpg").save(folder / "img_celeba" / "000001.jpg", quality=95, exif=exif)
    Image.open(photos / "b.png").convert("RGB").save(folder / "img_celeba" / "000002.jpg", quality=95)
    (folder / "img_celeba" / "000003.jpg").touch()
    points = np.rint(PyramidReader(built[0]).meta("landmarks")).astype(int)
    points = np.concatenate([points, points[:1]])
    columns = [f"{p}_{a}" for p in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for a in "xy"]
    rows = [f"{i:06d}.jpg  " + "  ".join(map(str, row.ravel())) for i, row in enumerate(points, 1)]
    (folder / "Anno" / "list_landmarks_celeba.txt").write_text("\n".join(["3", " ".join(columns), *rows, ""]))
    names = " ".join(f"Attribute_{i}" for i in range(40))
    rows = [f"{i:06d}.jpg " + " ".join(["1", "-1"] * 20) for i in (1, 2, 3)]
    (folder / "Anno" / "list_attr_celeba.txt").write_text("\n".join(["3", names, *rows, ""]))
    (folder / "Anno" / "identity_CelebA.txt").write_text("000001.jpg 7\n000002.jpg 5\n000003.jpg 7\n")
    return folder


@pytest.fixture(scope="module")
def built_from_celeba(celeba, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "celeba.h5"
    options = ["--labels", "attributes", "--labels", "identities", "--resolution", 256, *NO_NETWORKS]
    result = build("--celeba-dir", celeba, "--out", out, "--workers", 1, *options)
    return out, result


def test_celebas_annotations_are_used_as_they_are(built, built_from_celeba):
    out, result = built_from_celeba
    assert result.returncode == 3
    assert "skipped 000003.jpg: an empty file" in result.stderr
    with PyramidReader(out) as pyramid, PyramidReader(built[0]) as found:
        assert pyramid.meta("source_name").tolist() == ["000001.jpg", "000002.jpg"]
        difference = np.abs(pyramid.read([0, 1], 64).astype(int) - found.read([0, 1], 64))
        assert difference.mean() < 5  # landmarks are rounded, the photos were saved again
        assert pyramid.labels.shape == (2, 41)
        assert pyramid.labels[:, 40].tolist() == [7, 5]
        assert pyramid.provenance["label_names"][-1] == "identity"


def test_workers_and_resuming_do_not_show_in_the_bytes(celeba, built_from_celeba, tmp_path):
    out = tmp_path / "celeba.h5"
    options = ["--labels", "attributes", "--labels", "identities", "--resolution", 256, *NO_NETWORKS]
    code = (
        "import os, sys; from celebahq.pyramid import PyramidWriter\n"
        "PyramidWriter.append_encoded = lambda *args, **kwargs: os.kill(os.getpid(), 9)\n"
        "from celebahq.cli import main; main(sys.argv[1:])"
    )
    arguments = ["build", "--celeba-dir", str(celeba), "--out", str(out), *map(str, options)]
    killed = subprocess.run([sys.executable, "-c", code, *arguments, "--workers", "2"], capture_output=True)
    assert killed.returncode == -9
    result = build(*arguments[1:])
    assert result.returncode == 3, result.stderr
    assert "build: 3 of 3 were done before" in result.stderr
    assert out.read_bytes() == built_from_celeba[0].read_bytes()


def test_the_best_are_kept(celeba, built_from_celeba, tmp_path):
    out = tmp_path / "best.h5"
    result = build(
        "--celeba-dir", celeba, "--out", out, "--resolution", 256, "--keep", 1, "--workers", 1, *NO_NETWORKS
    )
    assert result.returncode == 3, result.stderr
    with PyramidReader(out) as best, PyramidReader(built_from_celeba[0]) as full:
        scores = full.meta("quality_score")
        assert best.meta("source_name").tolist() == [full.meta("source_name")[scores.argmax()]]
        assert best.meta("quality_score").tolist() == [scores.max()]
    report = json.loads((tmp_path / "build-report.json").read_text())
    assert [(image["score"], image["kept"]) for image in report["ranking"]] == [
        (scores.max(), True),
        (scores.min(), False),
    ]
    page = (tmp_path / "build-report.html").read_text()
    assert "Left out by the ranking" in page


def test_two_builds_in_one_folder_have_a_report_each(photos, built, tmp_path):
    out = tmp_path / "faces.h5"
    (tmp_path / "build-report.json").write_text('{"file": "other.h5"}')
    options = ["--resolution", 256, "--workers", 1, "--keep", 1, *NO_NETWORKS]
    assert build("--photos", photos, "--out", out, *options).returncode == 3
    assert (tmp_path / "build-report.json").read_text() == '{"file": "other.h5"}'
    assert json.loads((tmp_path / "faces.build-report.json").read_text())["file"] == "faces.h5"


class Doubler:
    """A stand-in for a network: shifts grey levels, enlarges by repetition, and notes what it saw."""

    def __init__(self, name, scale, halo):
        self.name, self.scale, self.sha256 = name, scale, "0" * 64
        self.halo = halo
        self.boxes = []

    def __call__(self, photo, box=None):
        top, left, bottom, right = box or (0, 0, *photo.shape[:2])
        self.boxes.append((bottom - top, right - left))
        piece = photo[top:bottom, left:right]
        return np.repeat(np.repeat(255 - piece, self.scale, axis=0), self.scale, axis=1)


@pytest.fixture
def face(photos, built):
    pyramid = PyramidReader(built[0])
    return load_photo(photos / "b.png"), pyramid.meta("landmarks")[1]


def options_for(tmp_path, **changes):
    return BuildOptions(PhotoSource(tmp_path), tmp_path / "x.h5", **changes)


def test_both_networks_see_only_the_crop_and_the_second_ones_halo(face, tmp_path):
    photo, landmarks = face
    plan = plan_crop(*photo.shape[:2], landmarks)
    jpeg, sr = Doubler("jpeg", 1, 96), Doubler("sr4x", 4, 10)
    restored = restore_crop(photo, plan, jpeg, sr, options_for(tmp_path))
    height, width = plan.bottom - plan.top, plan.right - plan.left
    assert sr.boxes == [(height, width)]
    assert jpeg.boxes == [(min(plan.bottom + 10, 512) - max(plan.top - 10, 0), width + 20)]
    np.testing.assert_array_equal(restored.picture[::4, ::4], plan.cut(photo))  # inverted twice
    assert restored[1:] == (4, "jpeg", "sr4x")


@pytest.mark.parametrize(("when", "ran"), [("needed", False), ("always", True)])
def test_a_face_larger_than_the_target_is_enlarged_only_on_request(face, tmp_path, when, ran):
    photo, landmarks = face
    plan = plan_crop(*photo.shape[:2], landmarks)
    assert plan.side > 128
    options = options_for(tmp_path, resolution=128, sr_when=when)
    restored = restore_crop(photo, plan, None, Doubler("sr4x", 4, 10), options)
    assert restored.factor == (4 if ran else 1)
    assert restored.jpeg_removal == "none"
    assert restored.super_resolution == (
        "sr4x" if ran else f"skipped: the crop of {plan.side:.0f} px is as large as the target"
    )


def test_a_huge_face_is_reduced_before_the_second_network(face, tmp_path):
    photo, landmarks = face
    photo, landmarks = np.repeat(np.repeat(photo, 24, axis=0), 24, axis=1), landmarks * 24
    plan = plan_crop(*photo.shape[:2], landmarks)
    assert plan.shrink > 1
    sr = Doubler("sr4x", 4, 10)
    restored = restore_crop(photo, plan, Doubler("jpeg", 1, 96), sr, options_for(tmp_path, sr_when="always"))
    height, width = (plan.bottom - plan.top) // plan.shrink, (plan.right - plan.left) // plan.shrink
    assert sr.boxes == [(height, width)]
    assert restored.picture.shape == (4 * height, 4 * width, 3)


def test_photos_without_a_face_bind_the_next_build_to_nothing(photos, tmp_path):
    (tmp_path / "photos").mkdir()
    shutil.copy(photos / "sky.png", tmp_path / "photos")
    shutil.copy(photos / "b.png", tmp_path / "photos")
    (tmp_path / "photos" / "gone.jpg").symlink_to("nowhere.jpg")
    arguments = [
        "--photos",
        tmp_path / "photos",
        "--out",
        tmp_path / "x.h5",
        "--resolution",
        256,
        *NO_NETWORKS,
    ]
    result = build(*arguments, "--workers", 1, "--min-eye-distance", 500)
    assert result.returncode == 1
    said = result.stderr.splitlines()[-1]
    assert said.startswith(f"Error: {tmp_path / 'photos'}: no face to use in 3 photos: ")
    for reason in ("No such file or directory", "no face found", "too small (--min-eye-distance)"):
        assert reason in said
    assert not (tmp_path / "x.h5.work").exists()
    result = build(*arguments, "--workers", 1)
    assert result.returncode == 3, result.stderr
    assert "skipped gone.jpg: No such file or directory" in result.stderr


def test_an_item_without_a_crop_is_skipped_with_the_reason(photos, tmp_path):
    faces = FaceIndex(photos, ("a.jpg",), np.full((1, 5, 2), 9.0), orient=True)
    options = options_for(tmp_path, jpeg_model="none", sr_model="none")
    task = FaceTask(faces, options, describe(options, InProcess()))
    task.start()
    with pytest.raises(ToolError, match="coincide"):
        task.process(0)


class Nobody(InProcess):
    def run(self, work, assignments):
        raise AssertionError("nothing was left to do")


def test_the_index_of_a_folder_is_made_once(photos, tmp_path):
    source = PhotoSource(photos)
    with owning_folder(tmp_path) as scratch:
        first = index(source, scratch, InProcess())
    with owning_folder(tmp_path) as scratch:
        again = index(source, scratch, Nobody())
    assert again.faces.names == first.faces.names
    assert again.counts == first.counts


def test_duplicates_may_be_kept(photos, tmp_path):
    source = PhotoSource(photos, keep_duplicates=True)
    with owning_folder(tmp_path) as scratch:
        indexed = index(source, scratch, InProcess())
    assert indexed.faces.names == ("a.jpg", "b.png", "more/again.jpg", "smaller.jpg")
    assert indexed.notices == ["2 photos and 0 faces repeat another one and are kept (--keep-duplicates)"]


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
        (["--photos", "{photos}", *NO_NETWORKS, "--device", "warp"], "--device warp: not a device"),
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

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 10**9))
    require_space(tmp_path / "x.h5", 100, None, 1024, "gzip")
    with pytest.raises(ToolError, match=r"1\.7 TB are needed, 1 GB are free"):
        require_space(tmp_path / "x.h5", 202_599, None, 1024, "none")
    with pytest.raises(ToolError, match=r"302 GB are needed, 1 GB"):  # 30,000 images, three times
        require_space(tmp_path / "x.h5", 202_599, 30_000, 1024, "gzip")


def test_a_grown_folder_does_the_new_photos_and_ends_in_the_bytes_of_a_build_from_scratch(photos, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "faces.h5"
    folder.mkdir()
    shutil.copy(photos / "a.jpg", folder / "m.jpg")
    arguments = ["--photos", folder, "--resolution", 64, "--workers", 1, *NO_NETWORKS]
    code = (
        "import os, sys; from celebahq.pyramid import PyramidWriter\n"
        "PyramidWriter.append_encoded = lambda *args, **kwargs: os.kill(os.getpid(), 9)\n"
        "from celebahq.cli import main; main(sys.argv[1:])"
    )
    begun = subprocess.run(
        [sys.executable, "-c", code, "build", "--out", str(out), *map(str, arguments)], capture_output=True
    )
    assert begun.returncode == -9
    shutil.copy(photos / "b.png", folder / "b.png")  # it comes before the one that is done
    grown = build("--out", out, *arguments)
    assert grown.returncode == 0, grown.stderr
    for stage in ("find faces", "build"):
        assert f"{stage}: there are other items than before; what was done is used" in grown.stderr
        assert f"{stage}: 1 of 2 were done before; going on" in grown.stderr
    anew = build("--out", tmp_path / "anew.h5", *arguments)
    assert anew.returncode == 0, anew.stderr
    assert out.read_bytes() == (tmp_path / "anew.h5").read_bytes()
    assert PyramidReader(out).meta("source_name").tolist() == ["b.png", "m.jpg"]


def test_a_finished_build_grows_by_what_is_new_in_its_folder(photos, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "faces.h5"
    folder.mkdir()
    shutil.copy(photos / "a.jpg", folder / "m.jpg")
    shutil.copy(photos / "sky.png", folder / "sky.png")

    def run(out, *more):
        arguments = ["--photos", folder, "--resolution", 64, "--workers", 1, *NO_NETWORKS, *more]
        return CliRunner().invoke(main, ["build", "--out", str(out), *map(str, arguments)])

    assert run(out).exit_code == 0
    again = run(out)
    assert again.exit_code == 1
    assert "faces.h5: exists already, and nothing was added since it was made" in again.stderr
    other = run(out, "--min-eye-distance", 20)
    assert "made with other parameters (min_eye_distance was 32.0, now 20.0)" in other.stderr

    shutil.copy(photos / "b.png", folder / "b.png")
    (folder / "m.jpg").rename(folder / "z.jpg")
    grown = run(out)
    assert grown.exit_code == 0, grown.stderr
    assert "find faces: 2 of 3 were done before; going on" in grown.stderr
    assert "build: 1 of 2 were done before; going on" in grown.stderr
    assert run(tmp_path / "anew.h5").exit_code == 0
    assert out.read_bytes() == (tmp_path / "anew.h5").read_bytes()
    assert PyramidReader(out).meta("source_name").tolist() == ["b.png", "z.jpg"]
    assert sorted(path.name for path in tmp_path.glob("faces*")) == ["faces.h5", "faces.h5.records"]

    finished = out.read_bytes()
    (folder / "z.jpg").unlink()
    shutil.copy(photos / "smaller.jpg", folder / "c.jpg")
    less = run(out)
    assert less.exit_code == 1
    assert "1 of its images are of photos that are not in" in less.stderr
    assert "(z.jpg, ...)" in less.stderr
    assert out.read_bytes() == finished


def test_another_choice_of_faces_goes_on_with_what_was_found(photos, tmp_path):
    with owning_folder(tmp_path) as scratch:
        first = index(PhotoSource(photos), scratch, InProcess())
    with owning_folder(tmp_path) as scratch:
        fewer = index(PhotoSource(photos, min_eye_distance=50), scratch, Nobody())
    assert set(fewer.faces.names) < set(first.faces.names)


def test_a_name_that_cannot_be_listed_is_that_photos_failure(photos, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in (b"a.jpg", b"line\nbreak.jpg", b"caf\xe9.jpg"):
        shutil.copy(photos / "a.jpg", os.path.join(os.fsencode(folder), name))
    with owning_folder(tmp_path) as scratch:
        indexed = index(PhotoSource(folder), scratch, InProcess())
    assert indexed.faces.names == ("a.jpg",)
    assert {(skip.name, skip.failure) for skip in indexed.left_out} == {
        ("line\\nbreak.jpg", True),
        ("caf\\xe9.jpg", True),
    }


def test_photos_that_are_aligned_already_are_noticed(photos, built, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    reader = PyramidReader(built[0])
    for i in range(2):
        Image.fromarray(reader[i].transpose(1, 2, 0)).save(folder / f"aligned{i}.png")
    shutil.copy(photos / "a.jpg", folder)
    source = PhotoSource(folder, keep_duplicates=True)
    with owning_folder(tmp_path) as scratch:
        indexed = index(source, scratch, InProcess())
    (notice,) = (notice for notice in indexed.notices if "aligned" in notice)
    assert notice.startswith("2 of 3 photos look aligned already")
    assert "celebahq import folder takes them as they are" in notice
