"""Every face of a photo becomes a record of facts that survives JSON."""

import dataclasses
import json

import numpy as np
import pytest
import skimage.data
from PIL import Image

from celebahq import ToolError
from celebahq.align.faces import FaceFinder
from celebahq.sources.photos import PhotoFaces, find_faces_in, index_photos

ASTRONAUT = Image.fromarray(skimage.data.astronaut())


@pytest.fixture(scope="module")
def finder():
    return FaceFinder()


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
    assert PhotoFaces.from_json(json.loads(json.dumps(dataclasses.asdict(found)))) == found
    (face,) = found.faces
    assert face.eye_distance == pytest.approx(44, abs=4)
    assert (face.turn, face.doubt) == (0, None)
    assert face.outside == 0
    assert abs(face.roll) < 5


def test_a_photo_without_a_face_has_none_and_one_too_large_is_refused(tmp_path, finder):
    Image.new("RGB", (300, 200), "grey").save(tmp_path / "none.png")
    assert find_faces_in(tmp_path, "none.png", finder).faces == []
    with pytest.raises(ToolError, match="--max-pixels"):
        find_faces_in(tmp_path, "none.png", finder, max_pixels=1000)


def test_the_index_has_one_record_per_face_with_its_facts(tmp_path, finder):
    ASTRONAUT.save(tmp_path / "a.png")
    photo = find_faces_in(tmp_path, "a.png", finder)
    index = index_photos(tmp_path, [(photo, photo.faces[0])] * 2, "yunet")
    assert index.names == ("a.png", "a.png")
    assert [record.index for record in index] == [0, 1]
    assert all(record.orient for record in index)
    np.testing.assert_array_equal(index[1].landmarks, photo.faces[0].landmarks)
    assert index[1].facts == {
        "photo_sha256": photo.sha256,
        "detector": "yunet",
        "detector_score": photo.faces[0].score,
        "detector_turn": 0,
    }
    assert len(index_photos(tmp_path, [], "yunet")) == 0
