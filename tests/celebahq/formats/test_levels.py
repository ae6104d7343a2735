import numpy as np
import pytest

from celebahq.formats.levels import encode_image, level_resolutions, mip_levels


def exact_levels(images: np.ndarray) -> list[np.ndarray]:
    """The paper's four-slice means in float32, rounded at the end only."""
    levels, means = [images], images.astype(np.float32)
    while means.shape[2] > 1:
        a, b = means[:, :, 0::2], means[:, :, 1::2]
        means = (a[..., 0::2] + a[..., 1::2] + b[..., 0::2] + b[..., 1::2]) * np.float32(0.25)
        levels.append(np.rint(means).clip(0, 255).astype(np.uint8))
    return levels


@pytest.mark.parametrize("shape", [(2, 3, 256, 256), (1, 1, 1024, 1024), (3, 1, 2, 2), (2, 3, 1, 1)])
def test_levels_equal_the_four_slice_means(rng, shape):
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    for level, expected in zip(mip_levels(images), exact_levels(images), strict=True):
        np.testing.assert_array_equal(level, expected)


def test_a_tie_is_rounded_to_even():
    image = np.array([[[[0, 1], [0, 1]]], [[[1, 2], [1, 2]]]], np.uint8)  # means 0.5 and 1.5
    assert mip_levels(image)[1].ravel().tolist() == [0, 2]


def test_rounding_happens_once_per_level():
    image = np.zeros((1, 1, 4, 4), np.uint8)
    image[..., ::2] = 1  # 2x2 means 0.5, and one of 0.75
    image[..., 0, 1] = 1
    assert mip_levels(image)[2].item() == 1  # of 0.5625; rounded on the way it would be 0


def test_the_first_level_is_the_images_themselves(rng):
    images = rng.integers(0, 256, (1, 3, 8, 8), dtype=np.uint8)
    assert mip_levels(images)[0] is images


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 3, 12, 12), np.uint8),
        np.zeros((1, 3, 8, 4), np.uint8),
        np.zeros((1, 3, 8, 8), np.float32),
    ],
)
def test_other_arrays_are_refused(images):
    with pytest.raises(ValueError, match="expected"):
        mip_levels(images)


def test_an_encoded_image_has_a_blob_per_level(rng):
    image = rng.integers(0, 256, (3, 128, 128), dtype=np.uint8)
    blobs = encode_image(image)
    assert len(blobs) == len(level_resolutions(128)) == 8
    assert [len(blob) for blob in blobs[-5:]] == [3 * r * r for r in (16, 8, 4, 2, 1)]
