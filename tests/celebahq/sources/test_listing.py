"""Which photos are found in a folder, and what tells two folders apart."""

import os

import pytest
from PIL import Image

from celebahq import ToolError
from celebahq.sources.listing import find_photos, listed, names_and_sizes_sha256, require_listable


def test_photos_are_found_in_sub_folders_in_byte_order(tmp_path):
    for name in ("b.jpg", "B.PNG", "a/c.jpeg", "a/notes.txt", "ü.webp", "Z/z.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_photos(tmp_path) == ["B.PNG", "Z/z.tif", "a/c.jpeg", "b.jpg", "ü.webp"]


def test_a_folder_without_photos_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ToolError, match=r"no pictures in it \(found 1 \.txt\); looked for \.jpg"):
        find_photos(tmp_path)


def test_files_without_an_ending_are_known_by_their_first_bytes(tmp_path):
    picture = Image.new("RGB", (8, 8))
    for name, kind in [
        ("a", "JPEG"),
        ("b", "PNG"),
        ("c", "WEBP"),
        ("d", "AVIF"),
        ("e", "TIFF"),
        ("f", "GIF"),
    ]:
        picture.save(tmp_path / name, kind)
    (tmp_path / "LICENSE").write_text("no picture")
    (tmp_path / "empty").touch()
    (tmp_path / "g.jfif").touch()
    (tmp_path / "h.txt").write_bytes((tmp_path / "a").read_bytes())  # the ending says that it is none
    assert find_photos(tmp_path) == ["a", "b", "c", "d", "e", "f", "g.jfif"]


def test_what_is_not_looked_at_is_counted_by_kind(tmp_path, caplog):
    for name in ("a.jpg", "b.txt", "c.TXT", "d.mp4", "README", "._a.jpg", ".cache/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with caplog.at_level("INFO", logger="celebahq"):
        find_photos(tmp_path)
    said = "1 pictures; not looked at: 2 hidden, 2 .txt, 1 without an ending, 1 .mp4"
    assert caplog.messages == [f"{tmp_path}: {said}"]


@pytest.mark.parametrize(
    ("name", "shown"), [("line\nbreak.jpg", "line\\nbreak.jpg"), ("caf\udce9.jpg", "caf\\xe9.jpg")]
)
def test_a_name_that_cannot_be_listed_is_shown_with_escapes_and_refused(tmp_path, name, shown):
    (tmp_path / name).touch()
    assert find_photos(tmp_path) == [name]
    assert listed(name) == shown
    with pytest.raises(ToolError, match="not printable text in UTF-8; rename it"):
        require_listable(name)
    require_listable("ü 1.jpg")


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
