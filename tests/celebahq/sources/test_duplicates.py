"""The same picture is recognised after saving it again; other pictures are not taken for it."""

import io

import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
from PIL import Image

from celebahq import crop_quad
from celebahq.align.faces import FaceFinder
from celebahq.sources.duplicates import FACE_BITS, NEAR_BITS, earlier_twin, face_hash, perceptual_hash


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


def plain_search(hashes, radius):
    expected = []
    for i, own in enumerate(hashes):
        looks = [own[start : start + 64] for start in range(0, len(own), 64)]
        near = (
            j
            for j in range(i)
            if expected[j] is None
            if min(bits_between(look, hashes[j][:64]) for look in looks) <= radius
        )
        expected.append(next(near, None))
    return expected


@pytest.mark.parametrize("looks", [1, 2])
@pytest.mark.parametrize("radius", [0, NEAR_BITS, 25, 26, FACE_BITS, 70])
def test_twins_equal_those_of_a_plain_search(radius, looks, monkeypatch):
    monkeypatch.setattr("celebahq.sources.near_hashes.AT_ONCE", 2000)  # so that there are several rounds
    rng = np.random.default_rng(radius)
    originals = rng.integers(0, 256, (40, 32), np.uint8)
    copies = originals[rng.integers(0, 40, 200)]
    flips = np.packbits(rng.random((200, 256)) < rng.uniform(0, radius / 128, (200, 1)), axis=1)
    rows = rng.permutation(np.concatenate([originals, originals[:5], copies ^ flips]))
    mirrored = rows[rng.permutation(len(rows))]  # of which one in some is near to another's first look
    hashes = [row.tobytes().hex() for row in (rows if looks == 1 else np.hstack([rows, mirrored]))]
    twins = earlier_twin(hashes, radius)
    assert twins == plain_search(hashes, radius)
    assert any(twins)


@pytest.mark.parametrize("radius", [1, NEAR_BITS, 25, 26, FACE_BITS, 41, 42])
def test_differences_that_are_spread_evenly_are_found_up_to_the_radius(radius):
    """Whatever the bits are cut into: some runs of them, and every so many-th."""
    rng = np.random.default_rng(0)
    hashes, expected = [], []
    for step in range(1, 7):
        for start in range(0, 256, 50):
            own, other = rng.integers(0, 2, (2, 256), np.uint8)
            places = (start + step * np.arange(radius + 1)) % 255
            near, far = own.copy(), other.copy()
            near[places[:radius]] ^= 1
            far[places] ^= 1
            expected += [None, len(hashes), None, None]
            hashes += [np.packbits(bits).tobytes().hex() for bits in (own, near, other, far)]
            assert bits_between(*hashes[-4:-2]) == radius
            assert bits_between(*hashes[-2:]) == radius + 1
    assert earlier_twin(hashes, radius) == expected


def test_long_searches_say_how_far_they_are(monkeypatch, caplog):
    monkeypatch.setattr("celebahq.sources.near_hashes.AT_ONCE", 21 * 8)  # eight pictures of 21 values each
    monkeypatch.setattr("celebahq.sources.duplicates.TELL_SEC", -1.0)
    originals = [row.tobytes().hex() for row in np.random.default_rng(1).integers(0, 256, (25, 32), np.uint8)]
    with caplog.at_level("INFO", logger="celebahq"):
        assert earlier_twin([*originals, *originals[::-1]]) == [None] * 25 + list(range(24, -1, -1))
    assert "find repeats: 24 of 25 pictures" in caplog.text


def test_no_pictures_no_twins():
    assert earlier_twin([]) == []


def changed(photo):
    """Copies of a portrait as they are met in folders."""
    height, width = photo.shape[:2]
    cut_y, cut_x = height // 20, width // 20
    picture = Image.fromarray(photo)
    return {
        "cut by 5 %": photo[cut_y:-cut_y, cut_x:-cut_x],
        "cut below": photo[: height - 3 * cut_y],
        "mirrored": photo[:, ::-1],
        "framed": np.pad(photo, ((20, 20), (20, 20), (0, 0)), constant_values=255),
        "turned by 2 degrees": np.array(picture.rotate(2, Image.Resampling.BICUBIC)),
        "turned by 90 degrees": np.rot90(photo),
        "saved again": saved_again(photo, quality=30, scale=0.7),
        "lighter": np.clip(photo * 1.2 + 5, 0, 255).astype(np.uint8),
        "mirrored and cut": photo[cut_y:, cut_x:][:, ::-1],
    }


@pytest.fixture(scope="module")
def finder():
    return FaceFinder()


@pytest.fixture(scope="module")
def portraits():
    hopper = Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    return [PHOTOS["astronaut"], np.array(hopper.convert("RGB"))]


@pytest.mark.parametrize("change", changed(np.zeros((40, 40, 3), np.uint8)))
def test_a_face_is_recognised_in_a_changed_copy_and_only_there(change, portraits, finder):
    hashes = []
    for photo in portraits:
        for picture in (photo, np.ascontiguousarray(changed(photo)[change])):
            (face,) = finder.find(picture)
            hashes.append(face_hash(picture, crop_quad(face.landmarks)))
    # The radius is wider than the build's: in small portraits the landmarks move more.
    assert earlier_twin(hashes, FACE_BITS + 10) == [None, 0, None, 2]


def test_only_the_second_look_of_a_picture_may_be_mirrored():
    left, right = "0f" * 32, "33" * 32
    assert earlier_twin([left + right, right + left, left + right]) == [None, 0, 0]
    assert earlier_twin([left + right, "cc" * 32 + right]) == [None, None]
