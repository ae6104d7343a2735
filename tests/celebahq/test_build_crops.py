"""What a build does with one face: which networks run, on how much of the photo."""

import numpy as np
import pytest
import skimage.data

from celebahq.align.crop import plan_crop
from celebahq.build import FaceTask, describe, restore_crop
from celebahq.errors import ToolError
from celebahq.jobs.engine import InProcess
from celebahq.options import BuildOptions, PhotoSource
from celebahq.pictures.decoding import load_photo
from celebahq.pictures.encoding import save_png
from celebahq.pyramid import PyramidReader
from celebahq.sources.records import FaceIndex


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


def test_the_folder_of_a_weight_file_is_no_part_of_the_result(face, tmp_path):
    photo, landmarks = face
    plan = plan_crop(*photo.shape[:2], landmarks)
    jpeg, sr = Doubler("/here/a.pth(strength=0.5)", 1, 96), Doubler("there/b.safetensors", 4, 10)
    restored = restore_crop(photo, plan, jpeg, sr, options_for(tmp_path))
    assert restored[2:] == ("a.pth(strength=0.5)", "b.safetensors")


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


def test_a_face_of_which_a_part_is_made_up_ranks_below_itself_in_heavy_noise_too(tmp_path):
    noisy = skimage.data.astronaut() + np.random.default_rng(0).normal(0, 64, (512, 512, 3))
    noisy = np.clip(noisy, 0, 255).astype(np.uint8)
    eyes_nose_mouth = np.array([[207, 108], [242, 105], [226, 128], [208, 140], [244, 138.0]])
    save_png(tmp_path / "whole.png", noisy)
    save_png(tmp_path / "part.png", noisy[:, 210:])
    landmarks = np.stack([eyes_nose_mouth, eyes_nose_mouth - [210, 0]])
    faces = FaceIndex(tmp_path, ("whole.png", "part.png"), landmarks, orient=True)
    options = options_for(tmp_path, jpeg_model="none", sr_model="none", resolution=64)
    task = FaceTask(faces, options, describe(options, InProcess()))
    task.start()
    whole, part = task.process(0), task.process(1)
    assert part.meta["outside"] == pytest.approx(0.4, abs=0.05)
    assert part.score < whole.score


def test_an_item_without_a_crop_is_skipped_with_the_reason(photos, tmp_path):
    faces = FaceIndex(photos, ("a.jpg",), np.full((1, 5, 2), 9.0), orient=True)
    options = options_for(tmp_path, jpeg_model="none", sr_model="none")
    task = FaceTask(faces, options, describe(options, InProcess()))
    task.start()
    with pytest.raises(ToolError, match="coincide"):
        task.process(0)
