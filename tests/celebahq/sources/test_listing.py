"""Which photos are found in a folder, and what tells two folders apart."""

import pytest

from celebahq import ToolError
from celebahq.sources.listing import files_sha256, find_photos


def test_photos_are_found_in_sub_folders_in_byte_order(tmp_path):
    for name in ("b.jpg", "B.PNG", "a/c.jpeg", "a/notes.txt", "ü.webp", "Z/z.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_photos(tmp_path) == ["B.PNG", "Z/z.tif", "a/c.jpeg", "b.jpg", "ü.webp"]


def test_a_folder_without_photos_and_unprintable_names_are_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ToolError, match=r"no photos in it; looked for \.jpg"):
        find_photos(tmp_path)
    (tmp_path / "line\nbreak.jpg").touch()
    with pytest.raises(ToolError, match=r"rename 'line\\nbreak.jpg'"):
        find_photos(tmp_path)


def test_names_and_sizes_tell_folders_apart_and_no_file_is_needed(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"123")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    before = files_sha256(tmp_path, ["a.jpg", "gone.jpg"])
    assert files_sha256(tmp_path, ["a.jpg", "gone.jpg"]) == before
    (tmp_path / "a.jpg").write_bytes(b"1234")
    assert files_sha256(tmp_path, ["a.jpg", "gone.jpg"]) != before
