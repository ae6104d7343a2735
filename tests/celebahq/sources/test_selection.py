"""Of the faces that were found those are taken that were asked for; all others are listed with a reason."""

from dataclasses import replace
from pathlib import Path

import pytest

from celebahq import PhotoSource, ToolError
from celebahq.sources.photos import PhotoFace, PhotoFaces
from celebahq.sources.selection import choose_faces

POINTS = [[10.0, 10.0], [50.0, 10.0], [30.0, 30.0], [15.0, 50.0], [45.0, 50.0]]
FACE = PhotoFace(POINTS, 40.0, 0.9, 0, 0.0, 0.0, "00" * 64, None)
SOURCE = PhotoSource(Path("photos"))


def photo(name, *faces, sha256="a", number=0, pixels=100):
    hashed = [
        face if face.crop_hash != FACE.crop_hash else own(face, number, i) for i, face in enumerate(faces)
    ]
    return PhotoFaces(name, sha256, ("%02x" % (37 * number)) * 32, pixels, hashed)


def own(face, number, i):
    digits = f"{(number * 4 + i) * 2654435761 % 2**32:08x}" * 8
    return replace(face, crop_hash=digits + "f" * 64)


def taken(photos, **options):
    chosen, left_out = choose_faces(photos, replace(SOURCE, **options))
    return (
        [(photo.name, photo.faces.index(face)) for photo, face in chosen],
        [(each.name, each.reason) for each in left_out],
    )


@pytest.mark.parametrize(
    ("changes", "options", "reason"),
    [
        ({"doubt": "hardly a face"}, {}, "hardly a face"),
        ({"eye_distance": 31.0}, {}, "too small (--min-eye-distance)"),
        ({"score": 0.7}, {"min_score": 0.8}, "the detector's score is 0.70 (--min-score)"),
        ({"roll": -50.0}, {"max_roll": 45.0}, "turned by 50 degrees (--max-roll)"),
        ({"outside": 0.6}, {}, "60% of its crop lies outside the photo (--max-outside)"),
    ],
)
def test_each_option_leaves_out_what_it_says(changes, options, reason):
    photos = [photo("a.jpg", FACE, number=1), photo("b.jpg", replace(FACE, **changes), number=2)]
    assert taken(photos, **options) == ([("a.jpg", 0)], [("b.jpg", reason)])


def test_of_a_photo_all_faces_or_the_largest_or_so_many_are_taken():
    faces = [replace(FACE, eye_distance=60.0 - i) for i in range(3)]
    photos = [photo("a.jpg", *faces, number=1), photo("b.jpg", FACE, number=2)]
    assert taken(photos)[0] == [("a.jpg", 0), ("a.jpg", 1), ("a.jpg", 2), ("b.jpg", 0)]
    largest, left_out = taken(photos, select="largest")
    assert largest == [("a.jpg", 0), ("b.jpg", 0)]
    assert left_out == [("a.jpg", "not the largest of its photo (--select largest)")] * 2
    two, left_out = taken(photos, max_per_photo=2)
    assert two == [("a.jpg", 0), ("a.jpg", 1), ("b.jpg", 0)]
    assert left_out == [("a.jpg", "its photo has 2 larger ones (--max-per-photo)")]


def test_the_largest_is_the_largest_of_those_that_may_be_taken():
    faces = [replace(FACE, eye_distance=60.0, outside=0.9), replace(FACE, eye_distance=50.0)]
    assert taken([photo("a.jpg", *faces, number=1)], select="largest")[0] == [("a.jpg", 1)]


def test_of_repeated_photos_the_largest_stays_and_the_first_of_equals():
    photos = [
        photo("a.jpg", FACE, sha256="1", number=1),
        photo("b.jpg", FACE, sha256="1", number=1),
        photo("c.jpg", FACE, sha256="2", number=1, pixels=400),
        photo("d.jpg", FACE, sha256="3", number=2),
        photo("e.jpg", FACE, sha256="3", number=2),
    ]
    for order in (photos, photos[::-1]):
        kept, left_out = taken(order)
        assert sorted(kept) == [("c.jpg", 0), ("d.jpg", 0)]
        assert left_out == [
            ("a.jpg", "the same picture as c.jpg"),
            ("b.jpg", "the same picture as c.jpg"),
            ("e.jpg", "the same file as d.jpg"),
        ]
    assert len(taken(photos, keep_duplicates=True)[0]) == 5


def test_of_repeated_faces_in_different_photos_the_larger_stays():
    small = replace(FACE, crop_hash="0f" * 64)
    large = replace(FACE, crop_hash="0f" * 64, eye_distance=80.0)
    photos = [photo("a.jpg", small, FACE, number=1), photo("b.jpg", large, number=2)]
    kept, left_out = taken(photos)
    assert kept == [("a.jpg", 1), ("b.jpg", 0)]
    assert left_out == [("a.jpg", "the same face as in b.jpg")]
    assert len(taken(photos, keep_duplicates=True)[0]) == 3


def test_photos_may_be_left_out_by_name(tmp_path):
    names = tmp_path / "bad.txt"
    names.write_text("\ufeff./b.jpg\n\nnot there.jpg\n", encoding="utf-8")
    photos = [photo("a.jpg", FACE, number=1), photo("b.jpg", FACE, number=2)]
    assert taken(photos, exclude=names) == ([("a.jpg", 0)], [("b.jpg", "named by --exclude")])
    names.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ToolError, match="not a text file of names"):
        taken(photos, exclude=names)


def test_a_photo_without_a_face_is_listed():
    assert taken([photo("a.jpg", number=1)]) == ([], [("a.jpg", "no face found")])
