"""JPEG blocks are seen wherever the photo was cut, and at whatever size it was saved again."""

import bench_quality as bench
import numpy as np
import pytest
import skimage.data
from PIL import Image
from scipy.stats import spearmanr

from celebahq import block_artifacts
from celebahq.align.blocks import enlarged_blocks

PHOTOS = {
    "astronaut": skimage.data.astronaut(),
    "cat": np.ascontiguousarray(skimage.data.chelsea()[:, 60:400]),
    "coffee": np.ascontiguousarray(skimage.data.coffee()[:, 100:500]),
}


def chance():
    return np.random.default_rng(7)


def resized(photo, scale):
    size = round(photo.shape[1] * scale), round(photo.shape[0] * scale)
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
@pytest.mark.parametrize("cut", [(0, 0), (3, 5), (7, 1)])
def test_stronger_compression_has_more_block_artifacts_wherever_the_photo_is_cut(photo, cut):
    qualities = (98, 95, 90, 80, 65, 50, 35, 20, 10)
    compressed = (bench.jpeg(photo, 100 - quality, chance()) for quality in qualities)
    blocks = [block_artifacts(np.ascontiguousarray(picture[cut[0] :, cut[1] :])) for picture in compressed]
    assert spearmanr(range(len(blocks)), blocks).statistic > 0.98
    assert blocks[-1] > 3


def test_pictures_that_were_never_compressed_have_hardly_any_blocks():
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    assert block_artifacts(noise) < 0.2
    assert block_artifacts(np.full((100, 100, 3), 50, np.uint8)) == 0
    assert block_artifacts(np.zeros((10, 500, 3), np.uint8)) == 0
    checkers = np.kron(np.indices((40, 40)).sum(axis=0) % 2, np.ones((8, 8)))[..., None] * [200, 200, 200]
    assert block_artifacts(checkers.astype(np.uint8)) > 10


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
@pytest.mark.parametrize("scale", [1.2, 1.5, 1.73, 2, 3])
def test_enlarged_blocks_are_seen_though_the_photo_was_saved_again(photo, scale):
    photo = photo[:240, :240]
    strengths = [
        enlarged_blocks(bench.jpeg(resized(bench.jpeg(photo, damage, chance()), scale)[2:, 5:], 5, chance()))
        for damage in (0, 70, 90)
    ]
    assert strengths[0] < 1
    assert strengths[2] > max(strengths[1], strengths[0] + 1)


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
def test_blocks_of_the_usual_size_are_not_enlarged_ones(photo):
    compressed = bench.jpeg(photo, 70, chance())
    assert enlarged_blocks(compressed) < 1 < block_artifacts(compressed)


def test_pictures_that_were_never_compressed_have_no_enlarged_blocks():
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    assert enlarged_blocks(noise) < 0.5
    assert enlarged_blocks(np.full((100, 100, 3), 50, np.uint8)) == 0
    assert enlarged_blocks(np.zeros((60, 500, 3), np.uint8)) == 0
    stripes = np.repeat(np.tile(np.repeat([50, 200], 8), 20)[None, :, None], 320, axis=0).repeat(3, axis=2)
    assert enlarged_blocks(stripes.astype(np.uint8)) < 0.5  # one direction only


def test_checkers_of_any_size_are_measured_as_what_they_are():
    for side in (9, 12, 17, 23):
        checkers = np.kron(np.indices((25, 25)).sum(axis=0) % 2, np.ones((side, side)))
        pattern = np.random.default_rng(0).uniform(100, 110, (25, 25))
        assert enlarged_blocks((100 + 30 * checkers)[..., None].repeat(3, axis=2).astype(np.uint8)) > 5
        blocks = np.kron(pattern, np.ones((side, side)))[..., None].repeat(3, axis=2)
        assert enlarged_blocks(blocks.astype(np.uint8)) > 1


@pytest.mark.parametrize(
    "photo",
    [np.zeros((99, 99), np.uint8), np.zeros((99, 99, 3), np.float32), np.zeros((99, 99, 4), np.uint8)],
)
def test_other_arrays_are_refused(photo):
    with pytest.raises(ValueError, match="photo must be"):
        block_artifacts(photo)
