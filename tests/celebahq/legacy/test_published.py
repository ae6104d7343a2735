"""`image_list.txt` and the delta zips are read, and what is wrong with them is said."""

import zipfile

import pytest

from celebahq.errors import FormatError, ToolError
from celebahq.legacy.published import PublishedImage, find_missing_deltas, read_image_list

HEADER = "idx orig_idx orig_file proc_md5 final_md5"
A, B = "a" * 32, "b" * 32


def write(tmp_path, *lines):
    path = tmp_path / "image_list.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_lines_by_their_header_in_the_order_of_idx(tmp_path):
    path = write(
        tmp_path,
        "final_md5  orig_file idx orig_idx proc_md5",
        f"{B} 000008.jpg 12 7 {A}",
        f"{A} 2.jpg 3 1 {B}",
    )
    assert read_image_list(path) == [
        PublishedImage(3, 1, "2.jpg", B, A),
        PublishedImage(12, 7, "000008.jpg", A, B),
    ]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "line 1 must name the columns"),
        (["idx orig_idx orig_file proc_md5"], "line 1 must name the columns"),
        ([HEADER], "lists no image"),
        ([HEADER, f"0 1 000002.jpg {A}"], "line 2 must be"),
        ([HEADER, f"0 1 000002.jpg {A} {B}", f"x 1 000002.jpg {A} {B}"], "line 3 must be"),
        ([HEADER, f"0 1 ../../etc/passwd {A} {B}"], "line 2 must be"),
        ([HEADER, f"0 1 ..jpg {A} {B}"], "line 2 must be"),
        ([HEADER, f"0 -1 000002.jpg {A} {B}"], "line 2 must be"),
        ([HEADER, f"0 1 000002.jpg {A} {B[1:]}"], "line 2 must be"),
        ([HEADER, f"0 1 000002.jpg {A} {B}", f"0 2 000003.jpg {A} {B}"], "lists an image twice"),
    ],
)
def test_bad_lists(tmp_path, lines, reason):
    with pytest.raises(FormatError, match=rf"image_list\.txt: .*{reason}"):
        read_image_list(write(tmp_path, *lines))


def test_missing_or_binary_lists(tmp_path):
    with pytest.raises(ToolError, match=r"image_list\.txt: not found"):
        read_image_list(tmp_path / "image_list.txt")
    (tmp_path / "image_list.txt").write_bytes(b"")
    with pytest.raises(FormatError, match="not a list of images"):
        read_image_list(tmp_path / "image_list.txt")
    (tmp_path / "image_list.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(FormatError, match="not a list of images"):
        read_image_list(tmp_path / "image_list.txt")


def test_every_zip_that_is_missing_or_incomplete_is_named(tmp_path):
    images = [PublishedImage(idx, idx, f"{idx}.jpg", A, B) for idx in (5, 6, 7, 1000, 2003, 3001)]
    with zipfile.ZipFile(tmp_path / "deltas00000.zip", "w") as archive:
        archive.writestr("delta00005.dat", b"token")
        archive.writestr("delta00007.dat", b"")  # as an interrupted copy may leave it
    with zipfile.ZipFile(tmp_path / "deltas01000.zip", "w") as archive:
        archive.writestr("delta01000.dat", b"token")
    (tmp_path / "deltas03000.zip").write_bytes((tmp_path / "deltas01000.zip").read_bytes()[:-10])
    lacking, absent, damaged = find_missing_deltas(tmp_path, images)
    assert lacking.endswith("deltas00000.zip: lacks 2 of 3 deltas (delta00006.dat, ...)")
    assert "deltas02000.zip: not found" in absent
    assert "deltas03000.zip: incomplete or damaged" in damaged
    assert find_missing_deltas(tmp_path, images[3:4]) == []
