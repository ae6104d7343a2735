"""Files and folders appear complete or not at all."""

import errno
import json
import time
import zipfile

import pytest

from celebahq.errors import ToolError
from celebahq.files import (
    append_jsonl,
    atomic_folder,
    atomic_path,
    atomic_zip,
    make_folder,
    md5_file,
    read_json,
    read_jsonl,
    refuse_existing,
    sha256_file,
    write_json,
)


def test_zips_of_the_same_files_are_the_same_bytes_at_any_time(tmp_path, monkeypatch):
    def fill(name):
        with atomic_zip(tmp_path / name) as write:
            write("folder/a.txt", b"a" * 1000)
            assert not (tmp_path / name).exists()
            write("b.txt", b"b")

    fill("1.zip")
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(1e9))
    fill("2.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "1.zip") as archive:
        assert archive.read("folder/a.txt") == b"a" * 1000
        assert archive.namelist() == ["folder/a.txt", "b.txt"]


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_path(path) as partial:
        partial.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as partial:
        partial.write_text("new")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_when_it_is_complete(tmp_path):
    (tmp_path / "a.partial").mkdir()  # of a run that was killed
    (tmp_path / "a.partial" / "stale").touch()
    with atomic_folder(tmp_path / "a") as partial:
        (partial / "b").touch()
        assert not (tmp_path / "a").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "c"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
def test_a_full_disk_is_told_with_what_was_being_written(tmp_path, atomic):
    with pytest.raises(ToolError, match=r"a: not written, for the disk is full"), atomic(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="Input/output"), atomic(tmp_path / "a"):
        raise OSError(errno.EIO, "Input/output error")
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_must_be_is_named(tmp_path):
    (tmp_path / "a").touch()
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"):
        with pytest.raises(ToolError, match=r"a.*: not a folder"):
            make_folder(path)
    make_folder(tmp_path / "b" / "c")
    make_folder(tmp_path / "b" / "c")
    assert (tmp_path / "b" / "c").is_dir()


def test_the_remedy_is_the_commands_own(tmp_path):
    refuse_existing(tmp_path / "a")
    (tmp_path / "a").touch()
    with pytest.raises(ToolError, match=r"a: exists already; choose another name, or remove it"):
        refuse_existing(tmp_path / "a")
    with pytest.raises(ToolError, match="or pass --overwrite to replace it"):
        refuse_existing(tmp_path / "a", overwrite=False)
    refuse_existing(tmp_path / "a", overwrite=True)


def test_a_line_cut_short_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    append_jsonl(path, {"a": 1})
    append_jsonl(path, {"b": "\u00e9"})
    with path.open("a") as file:
        file.write('{"c": ')
    assert read_jsonl(path) == [{"a": 1}, {"b": "\u00e9"}]


def test_json_is_utf8(tmp_path):
    write_json(tmp_path / "a.json", {"name": "\u00e9"})
    assert json.loads((tmp_path / "a.json").read_bytes().decode("utf-8")) == {"name": "\u00e9"}


def test_checksums_are_the_standards(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # the example of both standards, FIPS 180-2 and RFC 1321
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert md5_file(tmp_path / "a") == "900150983cd24fb0d6963f7d28e17f72"


@pytest.mark.parametrize(
    ("data", "message"), [(b"{", "not JSON"), (b"\xff", "not JSON"), (b"[1]", "not a JSON object")]
)
def test_damaged_json_is_named(tmp_path, data, message):
    path = tmp_path / "facts.json"
    with pytest.raises(ToolError, match=r"facts\.json: no such file"):
        read_json(path)
    path.write_bytes(data)
    with pytest.raises(ToolError, match=rf"facts\.json: damaged, {message}"):
        read_json(path)


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / "a"
    with atomic_path(path) as partial:
        partial.write_text("first")
        with pytest.raises(ToolError, match="a: another process is writing it"), atomic_path(path) as other:
            other.write_text("second")
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_path(path) as partial:  # the lock is gone with the writer
        partial.write_text("next")
    assert path.read_text() == "next"


def test_two_writers_of_one_folder_do_not_mix(tmp_path):
    path = tmp_path / "a"
    with atomic_folder(path) as partial:
        (partial / "first").touch()
        with pytest.raises(ToolError, match="a: another process is writing it"), atomic_folder(path):
            pass
    assert [file.name for file in path.iterdir()] == ["first"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_does_not_hinder(tmp_path):
    (tmp_path / "a.partial").write_text("half")
    with atomic_path(tmp_path / "a") as partial:
        partial.write_text("whole")
    (tmp_path / "b.partial" / "deep").mkdir(parents=True)
    (tmp_path / "b.partial" / "half").touch()
    with atomic_folder(tmp_path / "b") as partial:
        assert list(partial.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a", tmp_path / "b"]
