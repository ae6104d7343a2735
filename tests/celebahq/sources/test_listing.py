"""Which photos are found in a folder, and what tells two folders apart."""

import os

import pytest

from celebahq import ToolError
from celebahq.sources.listing import find_photos, names_and_sizes_sha256


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
    before = names_and_sizes_sha256(tmp_path, ["a.jpg", "gone.jpg"])
    assert names_and_sizes_sha256(tmp_path, ["a.jpg", "gone.jpg"]) == before
    (tmp_path / "a.jpg").write_bytes(b"1234")
    assert names_and_sizes_sha256(tmp_path, ["a.jpg", "gone.jpg"]) != before


def test_an_unreadable_folder_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jpg").touch()
    scandir = os.scandir

    def closed(folder):
        if folder.name == "closed":  # as for everybody but root
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(ToolError, match=r"closed: cannot be read \(Permission denied\); make it readable"):
        find_photos(tmp_path)


def test_links_to_folders_are_followed_and_circles_are_an_error(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").touch()
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    assert find_photos(tmp_path / "photos") == ["link/a.jpg"]
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "photos")
    with pytest.raises(ToolError, match=r"link/back: a link to a folder above it"):
        find_photos(tmp_path / "photos")


def test_what_is_left_out_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    for name in ("a.jpg", "b.txt", "c"):
        (tmp_path / name).touch()
    assert find_photos(tmp_path) == ["a.jpg"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: 2 files that are not named like photos are left out"
    ]
