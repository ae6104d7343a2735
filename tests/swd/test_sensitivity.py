"""What the metric sees and what it does not, on real photographs of faces."""

import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from swd import SlicedWassersteinDistance
from swd.pipeline.sources import open_images

pytestmark = pytest.mark.slow

COUNT, SIZE = 150, 64


@pytest.fixture(scope="module")
def photos(shared):
    """Two disjoint sets of real faces at 64 px."""
    images = open_images(shared / "data" / "ffhq256" / "real")
    return [images.read(range(start, start + COUNT), SIZE) for start in (0, COUNT)]


def measure(reals, fakes):
    metric = SlicedWassersteinDistance(patches=64, repeats=1)
    metric.update(torch.from_numpy(reals), True)
    metric.update(torch.from_numpy(fakes), False)
    return {name: value.item() for name, value in metric.compute().items()}


@pytest.fixture(scope="module")
def distance(photos):
    """`distance(fakes)`: figures against the first set."""
    return lambda fakes: measure(photos[0], fakes)


@pytest.fixture(scope="module")
def floor(photos, distance):
    """Figures of real faces."""
    return distance(photos[1])


def test_blur_moves_the_finest_level(photos, distance, floor):
    blurred = np.stack([[cv2.GaussianBlur(plane, (0, 0), 0.8) for plane in image] for image in photos[1]])
    found = distance(blurred)
    assert found["64"] > 2 * floor["64"]
    assert found["16"] < 1.1 * floor["16"]


def test_a_tint_of_each_image_moves_the_coarsest_level(photos, distance, floor):
    tints = np.random.default_rng(0).normal(0, 25, (COUNT, 3, 1, 1))
    found = distance(np.clip(photos[1] + tints, 0, 255).astype(np.uint8))
    assert found["16"] > 1.3 * floor["16"]
    assert found["64"] < 1.1 * floor["64"]


def test_one_tint_for_all_images_is_normalised_away(photos, distance, floor):
    tint = np.array([30.0, 0.0, 10.0])[:, None, None]
    found = distance(np.clip(photos[1] * 0.8 + tint, 0, 255).astype(np.uint8))
    assert found["average"] == pytest.approx(floor["average"], rel=0.02)


def test_few_images_repeated_move_every_level(photos, distance, floor):
    found = distance(np.repeat(photos[1][:6], COUNT // 6, axis=0))
    for level in ("64", "32", "16"):
        assert found[level] > 1.4 * floor[level]


def test_jpeg_compression_of_one_side_moves_the_finest_level(photos, distance, floor):
    def compress(image):
        file = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(file, "jpeg", quality=30)
        return np.asarray(Image.open(file)).transpose(2, 0, 1)

    found = distance(np.stack([compress(image) for image in photos[1]]))
    assert found["64"] > 1.25 * floor["64"]
    assert found["16"] < 1.1 * floor["16"]


def test_gan_faces_lie_clearly_above_real_ones(shared):
    folder = shared / "data" / "ffhq256"
    reals, fakes = (open_images(folder / name) for name in ("real", "gan"))
    halves = [reals.read(range(start, 650, 2), 128) for start in (0, 1)]
    gan = fakes.read(range(325), 128)
    of_reals = measure(*halves)
    of_fakes = [measure(half, gan) for half in halves]
    for level in ("128", "64", "32", "16"):
        assert np.mean([found[level] for found in of_fakes]) > of_reals[level]
    assert np.mean([found["average"] for found in of_fakes]) > 1.2 * of_reals["average"]
