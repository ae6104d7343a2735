"""Which faces `celebahq build` finds in a folder, and takes."""

import os
import shutil

from PIL import Image

from celebahq.build_index import index
from celebahq.jobs.engine import InProcess
from celebahq.jobs.scratch import owning_folder
from celebahq.options import CelebaSource, PhotoSource
from celebahq.pyramid import PyramidReader


class Nobody(InProcess):
    def run(self, work, assignments):
        raise AssertionError("nothing was left to do")


def test_the_index_of_a_folder_is_made_once(photos, tmp_path):
    source = PhotoSource(photos)
    with owning_folder(tmp_path) as scratch:
        first = index(source, scratch, InProcess())
    with owning_folder(tmp_path) as scratch:
        again = index(source, scratch, Nobody())
    assert again.faces.names == first.faces.names
    assert again.counts == first.counts


def test_duplicates_may_be_kept(photos, tmp_path):
    source = PhotoSource(photos, keep_duplicates=True)
    with owning_folder(tmp_path) as scratch:
        indexed = index(source, scratch, InProcess())
    assert indexed.faces.names == ("a.jpg", "b.png", "more/again.jpg", "smaller.jpg")
    assert indexed.notices == ["2 photos and 0 faces repeat another one and are kept (--keep-duplicates)"]


def test_another_choice_of_faces_goes_on_with_what_was_found(photos, tmp_path):
    with owning_folder(tmp_path) as scratch:
        first = index(PhotoSource(photos), scratch, InProcess())
    with owning_folder(tmp_path) as scratch:
        fewer = index(PhotoSource(photos, min_eye_distance=50), scratch, Nobody())
    assert set(fewer.faces.names) < set(first.faces.names)


def test_a_name_that_cannot_be_listed_is_that_photos_failure(photos, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in (b"a.jpg", b"line\nbreak.jpg", b"caf\xe9.jpg"):
        shutil.copy(photos / "a.jpg", os.path.join(os.fsencode(folder), name))
    with owning_folder(tmp_path) as scratch:
        indexed = index(PhotoSource(folder), scratch, InProcess())
    assert indexed.faces.names == ("a.jpg",)
    assert {(skip.name, skip.failure) for skip in indexed.left_out} == {
        ("line\\nbreak.jpg", True),
        ("caf\\xe9.jpg", True),
    }


def test_photos_that_are_aligned_already_are_noticed(photos, built, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    reader = PyramidReader(built[0])
    for i in range(2):
        Image.fromarray(reader[i].transpose(1, 2, 0)).save(folder / f"aligned{i}.png")
    shutil.copy(photos / "a.jpg", folder)
    source = PhotoSource(folder, keep_duplicates=True)
    with owning_folder(tmp_path) as scratch:
        indexed = index(source, scratch, InProcess())
    (notice,) = (notice for notice in indexed.notices if "aligned" in notice)
    assert notice.startswith("2 of 3 photos look aligned already")
    assert "celebahq import folder takes them as they are" in notice


def test_names_to_leave_out_that_no_photo_has_are_noticed(photos, celeba, tmp_path):
    for folder, here in ((photos, "more/again.jpg"), (celeba, "000002.jpg")):
        kind = PhotoSource if folder == photos else CelebaSource
        names = tmp_path / "bad.txt"
        names.write_text(f"./{here}\n{folder.name}/{here}\nzoe.jpg\n./broken.jpg\n000001.jpg\na.jpg\n")
        with owning_folder(tmp_path / folder.name) as scratch:
            indexed = index(kind(folder, exclude=names), scratch, InProcess())
        assert here not in indexed.faces.names
        (notice,) = indexed.warnings
        unknown = 3 if folder == photos else 4
        assert f"{names}: {unknown} of its names are those of no photo: " in notice
        assert f"{folder.name}/{here}" in notice
        assert "zoe.jpg" in notice or "..." in notice
        assert "(names are paths below the photos' folder)" in notice
        names.write_text(f"./{here}\n")
        with owning_folder(tmp_path / folder.name) as scratch:
            indexed = index(kind(folder, exclude=names), scratch, InProcess())
        assert not indexed.warnings
