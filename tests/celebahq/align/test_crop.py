"""The aligned image agrees with reference crops, closed forms, and with itself under changes of scale."""

from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
from PIL import Image

from celebahq import ToolError, align_face
from celebahq.align.crop import enlarge, enlargement, finish_crop, plan_crop, warp_quad
from celebahq.align.geometry import crop_quad

GOLDEN = Path(__file__).parents[2] / "golden" / "alignment"
UPRIGHT = np.array([[100.0, 100], [160, 100], [130, 130], [110, 150], [150, 150]])  # side 240
TILTED = np.array([[321.0, 164], [394, 186], [350, 200], [314, 222], [367, 238]])


@pytest.fixture(scope="module")
def photos():
    hopper = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return {
        "astronaut": skimage.data.astronaut(),
        "hopper": np.asarray(Image.open(hopper).convert("RGB")),
    }


def ramp(height, width, step):
    """A picture whose red is proportional to x and green to y: affine maps of it have a closed form."""
    picture = np.full((height, width, 3), 77, np.uint8)
    picture[..., 0] = np.arange(width) // step
    picture[..., 1] = np.arange(height)[:, None] // step
    return picture


@pytest.mark.parametrize("number", range(8))
def test_crops_equal_the_reference_crops(number, photos):
    golden = np.load(GOLDEN / f"crop{number:02d}.npz")
    image = align_face(photos[str(golden["source"])], golden["landmarks"]).astype(np.float64)
    mean256 = image.reshape(256, 4, 256, 4, 3).mean(axis=(1, 3))
    difference = np.abs(mean256 - golden["mean256"])
    assert difference.mean() < (1.0 if golden["padded"] else 0.5)
    assert difference.max() < 2
    assert np.abs(image[384:640, 384:640] - golden["centre"]).mean() < 0.5


@pytest.mark.parametrize("side", [500.0, 900.0, 2000.0])
def test_warping_a_linear_ramp_gives_the_linear_ramp(side):
    x_axis = side / 2 * np.array([np.cos(0.3), np.sin(0.3)])
    y_axis = np.array([-x_axis[1], x_axis[0]])
    centre = np.array([1300.0, 1290.0])
    quad = np.stack(
        [
            centre - x_axis - y_axis,
            centre - x_axis + y_axis,
            centre + x_axis + y_axis,
            centre + x_axis - y_axis,
        ]
    )
    image = warp_quad(ramp(2600, 2600, 11), quad, 256)
    u = (np.arange(256) + 0.5) / 256
    position = quad[0] + u[None, :, None] * (quad[3] - quad[0]) + u[:, None, None] * (quad[1] - quad[0])
    # A step of the ramp covers 11 pixels whose mean lies 5 after the first; pixel centres at + 0.5.
    expected = (position - 0.5 - 5) / 11
    inner = np.abs(image[..., :2] - expected)
    # The ramp itself is rounded down to whole grey levels, the map and the two filters to the nearest.
    assert inner.max() < 1.6
    assert inner.mean() < 0.4
    assert np.abs((image[..., :2] - expected).mean()) < 0.02


def test_a_crop_of_4096_pixels_or_more_is_reduced_by_the_integer_that_leaves_2048():
    landmarks = UPRIGHT * 20  # side 4800: reduced by 2
    photo = ramp(5200, 5200, 25)
    plan = plan_crop(5200, 5200, landmarks)
    assert plan.shrink == 2
    assert 2048 <= plan.side < 4096
    region = plan.reduce(plan.cut(photo))
    assert region.shape[0] * 2 == plan.bottom - plan.top
    image = align_face(photo, landmarks, 256).astype(np.float64)
    quad = crop_quad(landmarks)
    u = (np.arange(256) + 0.5) / 256
    x = quad[0, 0] + u * (quad[3, 0] - quad[0, 0])
    inside = (x > 60) & (x < 5100)
    middle = image[160, inside, 0]
    assert np.abs(middle - (x[inside] - 12.5) / 25).mean() < 0.5


@pytest.mark.parametrize("resolution", [64, 256, 512])
def test_smaller_targets_are_the_box_means_of_larger_ones(resolution, photos):
    # Crops of 1200 px: no enlargement at any of these targets, so all derive from the same 4096.
    photo = np.asarray(Image.fromarray(photos["astronaut"]).resize((2560, 2560), Image.Resampling.LANCZOS))
    landmarks = UPRIGHT * 5 + 400
    large = align_face(photo, landmarks, 1024)
    small = align_face(photo, landmarks, resolution)
    box = cv2.resize(large, (resolution, resolution), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - box).max() <= 1


def test_2048_is_sampled_from_8192():
    photo = ramp(2600, 2600, 11)
    quad = np.array([[300.0, 300], [300, 2300], [2300, 2300], [2300, 300]])
    large = warp_quad(photo, quad, 2048)
    small = warp_quad(photo, quad, 1024)
    box = cv2.resize(large, (1024, 1024), interpolation=cv2.INTER_AREA)
    assert large.shape == (2048, 2048, 3)
    assert np.abs(small.astype(int) - box).max() <= 1


def test_what_lies_far_from_the_face_does_not_change_the_crop(photos):
    photo = photos["astronaut"]
    landmarks = np.array([[205.0, 110], [235, 108], [221, 125], [208, 140], [236, 139]])
    changed = photo.copy()
    changed[400:] = 0
    changed[:, 480:] = 255
    np.testing.assert_array_equal(align_face(photo, landmarks, 256), align_face(changed, landmarks, 256))


def test_turning_the_photo_turns_nothing_in_the_crop(photos):
    photo = photos["astronaut"]
    turned = np.ascontiguousarray(np.rot90(photo, -1))  # clockwise: (x, y) -> (511 - y, x)
    landmarks = np.stack([511 - TILTED[:, 1], TILTED[:, 0]], axis=1)
    difference = align_face(photo, TILTED, 256).astype(int) - align_face(turned, landmarks, 256)
    # OpenCV's fixed-point coordinates (1/32 px) fall differently in the two directions.
    assert np.abs(difference).max() <= 3
    assert np.abs(difference).mean() < 0.3


def test_a_picture_enlarged_by_somebody_else_goes_through_the_same_steps(photos):
    photo = photos["astronaut"]
    plan = plan_crop(*photo.shape[:2], TILTED)
    factor = enlargement(plan.side, 1024)
    assert factor == 4
    restored = enlarge(plan.reduce(plan.cut(photo)), factor)
    np.testing.assert_array_equal(finish_crop(restored, plan, factor, 1024), align_face(photo, TILTED))
    with pytest.raises(ValueError, match="picture must be uint8"):
        finish_crop(restored, plan, 2, 1024)


@pytest.mark.parametrize(
    ("side", "resolution", "factor"),
    [(1024, 1024, 1), (1023, 1024, 2), (512, 1024, 2), (3000, 256, 1), (30, 1024, 64)],
)
def test_the_enlargement_is_the_smallest_power_of_two_that_reaches_the_target(side, resolution, factor):
    assert enlargement(side, resolution) == factor


@pytest.mark.parametrize(
    ("landmarks", "reason"),
    [
        (UPRIGHT + 5000, "outside the photo"),
        (UPRIGHT - 5000, "outside the photo"),
        (UPRIGHT / 100, "pixels wide"),
        (UPRIGHT * 1e7, "outside the photo"),
        (np.full((5, 2), np.inf), "not finite"),
    ],
)
def test_landmarks_that_fit_no_photo_are_refused_with_a_reason(landmarks, reason):
    with pytest.raises(ToolError, match=reason):
        align_face(np.zeros((300, 300, 3), np.uint8), landmarks, 64)


@pytest.mark.parametrize("shape", [(300, 1, 3), (1, 300, 3), (2, 2, 3)])
def test_a_photo_that_is_hardly_there_still_gives_an_image(shape):
    photo = np.full(shape, 90, np.uint8)
    image = align_face(photo, UPRIGHT - [130, 120] + [shape[1] / 2, shape[0] / 2], 64)
    assert (image == 90).all()


def test_misused_arguments_are_named():
    with pytest.raises(ValueError, match="image must be"):
        align_face(np.zeros((300, 300), np.uint8), UPRIGHT)
    with pytest.raises(ValueError, match="resolution"):
        align_face(np.zeros((300, 300, 3), np.uint8), UPRIGHT, 1000)
