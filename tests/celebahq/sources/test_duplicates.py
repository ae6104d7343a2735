"""The same picture is recognised after saving it again; other pictures are not taken for it."""

import io

import numpy as np
import pytest
import skimage.data
from PIL import Image

from celebahq.sources.duplicates import NEAR_BITS, earlier_twin, perceptual_hash


def bits_between(a, b):
    return (int(a, 16) ^ int(b, 16)).bit_count()


def saved_again(photo, *, quality=90, scale=1.0):
    size = [round(length * scale) for length in (photo.shape[1], photo.shape[0])]
    buffer = io.BytesIO()
    Image.fromarray(photo).resize(size).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


PHOTOS = {name: getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("change", [{"quality": 20}, {"scale": 0.4}, {"quality": 60, "scale": 0.7}])
def test_recompression_and_resizing_keep_the_hash_near(name, change):
    photo = PHOTOS[name]
    assert (
        bits_between(perceptual_hash(photo), perceptual_hash(saved_again(photo, **change))) <= NEAR_BITS / 2
    )


def test_a_lighter_copy_is_near():
    photo = PHOTOS["astronaut"]
    lighter = np.clip(photo * 1.15 + 5, 0, 255).astype(np.uint8)
    assert bits_between(perceptual_hash(photo), perceptual_hash(lighter)) <= NEAR_BITS


def test_other_pictures_mirrored_ones_and_crops_are_far():
    photos = [*PHOTOS.values(), PHOTOS["astronaut"][:, ::-1].copy(), PHOTOS["astronaut"][60:, 60:].copy()]
    hashes = [perceptual_hash(photo) for photo in photos]
    distances = [bits_between(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(distances) > 2 * NEAR_BITS


def test_twins_equal_those_of_a_plain_search():
    rng = np.random.default_rng(0)
    originals = rng.integers(0, 256, (40, 32), np.uint8)
    copies = originals[rng.integers(0, 40, 60)]
    flips = np.packbits(rng.random((60, 256)) < rng.uniform(0, 0.15, (60, 1)), axis=1)
    hashes = [row.tobytes().hex() for row in rng.permutation(np.concatenate([originals, copies ^ flips]))]

    expected = []
    for i, own in enumerate(hashes):
        near = [j for j in range(i) if expected[j] is None and bits_between(own, hashes[j]) <= NEAR_BITS]
        expected.append(near[0] if near else None)
    assert earlier_twin(hashes) == expected
    assert any(expected)


def test_no_pictures_no_twins():
    assert earlier_twin([]) == []
