"""The whole procedure: every stage of the old libraries' results, where their photos are at hand."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

import celebahq
from celebahq.errors import ToolError
from celebahq.legacy import align, padding
from celebahq.legacy.align import Framed, crop, enlarge, landmark_quad, legacy_align, pad, shrink
from celebahq.legacy.jpeg import decode_jpeg
from celebahq.legacy.lanczos import resize
from celebahq.legacy.quad import transform_quad

QUADS = json.loads((Path(__file__).parents[2] / "golden" / "legacy" / "quads.json").read_text())
CASES = 22
EYES_AND_MOUTH = np.array([[195, 115], [251, 108], [229, 139], [207, 163], [255, 157]])  # skimage's astronaut


def md5(array):
    return hashlib.md5(np.ascontiguousarray(array).data).hexdigest()


@pytest.mark.parametrize("case", QUADS, ids=range(CASES))
def test_quad_and_zoom_equal_the_old_arithmetic(case):
    quad, zoom = landmark_quad(case["landmarks"])
    assert quad.dtype == np.float32
    assert quad.ravel().tolist() == [float.fromhex(value) for value in case["quad"]]
    assert zoom == float.fromhex(case["zoom"])


@pytest.fixture
def padding_stages(monkeypatch):
    """MD5s of the padding's intermediate results, as they pass: per channel computed, joined for the sum."""
    seen = {"mask": [], "gauss": [], "afterblur": [], "aftermed": [], "med": []}

    def spy(name, stage):
        function = getattr(padding, name)

        def recorded(*arguments):
            result = function(*arguments)
            if name == "blend":  # in place: first towards the blur, then towards the median
                stage_now = "aftermed" if np.ndim(arguments[1]) == 0 else "afterblur"
                seen[stage_now].append(arguments[0].copy())
            else:
                seen[stage].append(result)
            return result

        monkeypatch.setattr(padding, name, recorded)

    spy("blend_mask", "mask")
    spy("gaussian", "gauss")
    spy("median", "med")
    spy("blend", None)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("number", range(CASES))
def test_every_stage_equals_the_old_libraries(shared, padding_stages, number):
    golden = shared / "golden" / "bitexact"
    cases = json.loads((golden / "stages.json").read_text())
    assert len(cases) == CASES
    case = cases[number]
    path = (golden if case["file"].startswith("jpg/") else shared) / case["file"]

    quad, zoom = landmark_quad(case["landmarks"])
    face = Framed(decode_jpeg(path), quad, zoom)
    assert md5(face.image) == case["dec"]
    face = shrink(face)
    border_px = max(round(1024 * 0.1 / face.zoom), 3)
    face = crop(face, border_px)
    assert md5(face.image) == case["cropped"]
    face = enlarge(face)
    assert md5(face.image) == case["sr"]
    face = pad(face, border_px)
    assert bool(padding_stages["mask"]) == case["padded"]
    if case["padded"]:
        assert md5(padding_stages["mask"][0]) == case["mask"]
        for stage in ("gauss", "afterblur", "aftermed"):
            assert md5(np.dstack(padding_stages[stage])) == case[stage]
        assert [float(value) for value in padding_stages["med"]] == [float.fromhex(v) for v in case["med"]]
    assert md5(face.image) == case["padimg"]
    assert face.quad.ravel().tolist() == [float.fromhex(value) for value in case["quad1"]]
    assert face.zoom == float.fromhex(case["zoom1"])
    big = transform_quad(face.image, face.quad + np.float32(0.5), 4096)
    assert md5(big) == case["big"]
    assert md5(resize(big, 1024, 1024).transpose(2, 0, 1)) == case["procC"]


def test_the_public_function_does_these_steps(shared):
    golden = shared / "golden" / "bitexact"
    case = json.loads((golden / "stages.json").read_text())[6]
    image = celebahq.legacy_align(str(golden / case["file"]), case["landmarks"])
    assert image.shape == (1024, 1024, 3)
    assert image.dtype == np.uint8
    assert md5(image.transpose(2, 0, 1)) == case["procC"]


def legacy_align_picture(picture, landmarks, monkeypatch):
    """`legacy_align` of pixels that need no decoder."""
    monkeypatch.setattr(align, "decode_jpeg", lambda path: picture)
    return legacy_align("none", landmarks)


@pytest.mark.parametrize(
    ("scale", "landmarks", "expected"),
    [
        pytest.param(1, EYES_AND_MOUTH, "2184d3bb46830ac11a3fb6044c3039b6", id="enlarged 8 times"),
        pytest.param(1, EYES_AND_MOUTH - [110, 60], "81ff4c300bb9eb1a579f66d8a2b46bae", id="beyond the edge"),
        pytest.param(
            4,
            [[90, 120], [430, 100], [0, 0], [110, 400], [420, 390]],
            "9c223c1789eacb25881cc87b3db96b4e",
            id="reduced, mirrored twice",
        ),
    ],
)
def test_lossless_pictures_keep_their_sums(monkeypatch, scale, landmarks, expected):
    """Sums of this code, taken where all golden cases held: other versions of its libraries must agree."""
    picture = skimage.data.astronaut().repeat(scale, axis=0).repeat(scale, axis=1)
    image = legacy_align_picture(picture, np.multiply(landmarks, scale), monkeypatch)
    assert md5(image) == expected


def test_a_large_face_is_reduced_by_a_whole_factor():
    image = np.random.default_rng(0).integers(0, 256, (95, 130, 3), dtype=np.uint8)
    quad = np.float32([[7, 8], [7, 80], [79, 80], [79, 8]])
    face = shrink(Framed(image, quad, 0.149))  # floor(0.5 / 0.149) = 3
    assert face.image.shape == (32, 43, 3)  # 31.7 and 43.3 rounded
    np.testing.assert_array_equal(face.quad, quad / np.float32(3))
    assert face.zoom == 0.149 * 3
    assert shrink(Framed(image, quad, 0.26)).image is image
    assert shrink(Framed(np.zeros((10, 25, 3), np.uint8), quad, 0.25)).image.shape == (
        5,
        12,
        3,
    )  # 12.5: to even


def test_the_tiniest_faces_are_padded_always():
    """Their border is 3 pixels, and the rule asks for a pad above -1."""
    image = np.full((400, 400, 3), 90, np.uint8)
    inside = np.float32([[100, 100], [100, 200], [200, 200], [200, 100]])
    assert pad(Framed(image, inside, 10.24), border_px=10).image is image
    assert pad(Framed(image, inside, 10.24), border_px=3).image.shape == (460, 460, 3)  # 30 each


@pytest.mark.parametrize(
    ("landmarks", "reason"),
    [
        ([[3, 3]] * 5, "no crop follows"),
        ([[np.nan, 1]] * 5, "no crop follows"),
        ([[1e30, 0], [0, 0], [0, 0], [1, 1], [2, 2]], "no crop follows"),
        ([[0, 0], [0.5, 0], [0, 0], [0, 0.5], [0.5, 0.5]], "too small"),
        ([[9000, 9000], [9050, 9000], [0, 0], [9000, 9050], [9050, 9050]], "outside the photo of 512x512"),
        ([[0, 0], [300000, 0], [0, 0], [0, 300000], [300000, 300000]], "in a photo of 512x512"),
    ],
)
def test_landmarks_without_a_crop_are_refused(monkeypatch, landmarks, reason):
    with pytest.raises(ToolError, match=reason):
        legacy_align_picture(skimage.data.astronaut(), landmarks, monkeypatch)


def test_landmarks_of_another_shape_are_the_callers_error():
    with pytest.raises(ValueError, match=r"landmarks: shape \(68, 2\), expected \(5, 2\)"):
        landmark_quad(np.zeros((68, 2)))


def test_a_grey_photo_works(tmp_path):
    path = tmp_path / "grey.jpg"
    Image.fromarray(skimage.data.astronaut()[..., 1]).save(path)
    image = legacy_align(path, EYES_AND_MOUTH)
    assert image.shape == (1024, 1024, 3)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])
