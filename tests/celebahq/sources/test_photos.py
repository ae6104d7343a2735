"""A folder of photos becomes one record per face; repeats, small faces and faceless photos are reported."""

import dataclasses
import json

import numpy as np
import pytest
import skimage.data
from PIL import Image

from celebahq import ToolError
from celebahq.align.faces import FaceFinder
from celebahq.sources.photos import PhotoFaces, find_duplicates, find_faces_in, index_photos

ASTRONAUT = Image.fromarray(skimage.data.astronaut())


@pytest.fixture(scope="module")
def finder():
    return FaceFinder()


def photo_faces(name, *, sha256="a", perceptual_hash="00" * 32, pixels=100, faces=1):
    face = [[10.0, 10.0], [50.0, 10.0], [30.0, 30.0], [15.0, 50.0], [45.0, 50.0]]
    return PhotoFaces(name, sha256, perceptual_hash, pixels, [face] * faces, 0)


def test_faces_are_found_in_the_upright_photo(tmp_path, finder):
    ASTRONAUT.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    ASTRONAUT.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright = find_faces_in(tmp_path, "upright.png", finder)
    turned = find_faces_in(tmp_path, "turned.png", finder)
    assert len(upright.faces) == 1
    assert turned.faces == upright.faces
    assert turned.perceptual_hash == upright.perceptual_hash
    assert upright.pixels == 512 * 512


def test_what_was_found_survives_json(tmp_path, finder):
    ASTRONAUT.save(tmp_path / "a.png")
    found = find_faces_in(tmp_path, "a.png", finder)
    again = PhotoFaces(**json.loads(json.dumps(dataclasses.asdict(found))))
    assert again == found


def test_small_faces_and_photos_without_faces_are_told_apart(tmp_path, finder):
    ASTRONAUT.save(tmp_path / "face.png")
    Image.new("RGB", (300, 200), "grey").save(tmp_path / "none.png")
    small = find_faces_in(tmp_path, "face.png", finder, min_eye_distance=60)
    assert small.faces == []
    assert small.why_none == "the only face is too small (--min-eye-distance)"
    assert find_faces_in(tmp_path, "none.png", finder).why_none == "no frontal face found"
    with pytest.raises(ToolError, match="--max-pixels"):
        find_faces_in(tmp_path, "face.png", finder, max_pixels=1000)


def test_the_largest_of_a_group_stays_and_the_first_of_equals():
    near = "ff" + "00" * 31  # 8 bits away
    far = "ff" * 32
    photos = [
        photo_faces("a.jpg", sha256="1", pixels=100),
        photo_faces("b.jpg", sha256="1", pixels=100),
        photo_faces("c.jpg", sha256="2", perceptual_hash=near, pixels=400),
        photo_faces("d.jpg", sha256="3", perceptual_hash=far),
        photo_faces("e.jpg", sha256="3", perceptual_hash=far),
        photo_faces("f.jpg", sha256="4", perceptual_hash=far, faces=0),
    ]
    found = [(duplicate.name, duplicate.kept, duplicate.exact) for duplicate in find_duplicates(photos)]
    assert found == [("a.jpg", "c.jpg", False), ("b.jpg", "c.jpg", False), ("e.jpg", "d.jpg", True)]
    assert find_duplicates(reversed(photos)) == find_duplicates(photos)


def test_the_index_has_one_record_per_face_without_the_repeats(tmp_path):
    photos = [
        photo_faces("a.jpg", faces=2),
        photo_faces("b.jpg"),
        photo_faces("c.jpg", perceptual_hash="ff" * 32, faces=3),
        photo_faces("d.jpg", faces=0),
    ]
    index = index_photos(tmp_path, photos, find_duplicates(photos))
    assert index.names == ("a.jpg", "a.jpg", "c.jpg", "c.jpg", "c.jpg")
    assert [record.index for record in index] == [0, 1, 2, 3, 4]
    assert all(record.orient for record in index)
    np.testing.assert_array_equal(index[0].landmarks, photos[0].faces[0])
    assert len(index_photos(tmp_path, photos)) == 6  # with the repeats, when they are wanted
    assert len(index_photos(tmp_path, photos[3:])) == 0
