"""`celebahq build` on two portraits and on everything that a folder of photos holds besides."""

import json
import os
import re

import numpy as np
import pytest
from building import NO_NETWORKS, build

from celebahq.align.crop import align_face, plan_crop
from celebahq.align.quality import build_score
from celebahq.pictures.decoding import load_photo
from celebahq.pyramid import PyramidReader


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
        "faces.h5.records",
        "build-report.json",
        "build-report.html",
    }


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
