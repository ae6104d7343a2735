import builtins
import io

import lmdb
import numpy as np
import pytest
from PIL import Image

from celebahq.errors import FormatError, MissingExtraError, ToolError
from celebahq.sources.data_set import ImportOptions
from celebahq.sources.lsun import Lsun


def write(path, records):
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)
    return path


def encoded(pixels, form):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def test_the_centre_square_is_scaled_by_lanczos(rng, tmp_path):
    pixels = rng.integers(0, 256, (90, 121, 3), dtype=np.uint8)
    images = Lsun(write(tmp_path / "a", {b"k": encoded(pixels, "png")}), ImportOptions(resolution=64))
    expected = Image.fromarray(pixels[:, 15:105]).resize((64, 64), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(images.read(0).image, np.asarray(expected).transpose(2, 0, 1))


@pytest.mark.parametrize("form", ["webp", "jpeg", "png"])
def test_any_encoding(rng, tmp_path, form):
    pixels = rng.integers(0, 256, (64, 64), dtype=np.uint8)  # grey
    images = Lsun(write(tmp_path / "a", {b"k": encoded(pixels, form)}), ImportOptions(resolution=64))
    assert images.read(0).image.shape == (3, 64, 64)


def test_a_bad_record_is_named_and_not_fatal(rng, tmp_path):
    good = encoded(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8), "png")
    images = Lsun(
        write(tmp_path / "a", {b"a": good, b"b": good[:200], b"c": b""}), ImportOptions(resolution=32)
    )
    assert images.read(0).image.shape == (3, 32, 32)
    with pytest.raises(FormatError, match="b: cannot be decoded"):
        images.read(1)
    with pytest.raises(FormatError, match="c: an empty file"):
        images.read(2)


def test_keys_of_any_bytes(rng, tmp_path):
    good = encoded(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), "png")
    keys = [b"a\0", b"a\0\0", b"b\nc", b"\xff", "ä".encode()]
    images = Lsun(write(tmp_path / "a", dict.fromkeys(keys, good)), ImportOptions(resolution=32))
    names = [images.image_name(i) for i in range(5)]
    assert names == [r"a\x00", r"a\x00\x00", r"b\nc", "ä", r"\xff"]
    assert all(images.read(i).image.shape == (3, 32, 32) for i in range(5))


@pytest.mark.parametrize("pages", [1, 2, 5])
def test_a_database_cut_short(rng, tmp_path, pages):
    good = encoded(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), "png")
    path = write(tmp_path / "a", {b"a": good, b"b": good}) / "data.mdb"
    path.write_bytes(path.read_bytes()[: pages * 4096])
    with pytest.raises(FormatError, match="cut short"):
        Lsun(path.parent, ImportOptions())


def test_damaged_pages_never_crash(rng, tmp_path):
    good = encoded(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), "png")
    whole = (write(tmp_path / "a", {b"%03d" % i: good for i in range(100)}) / "data.mdb").read_bytes()
    messages = []
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        data = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(0, 16384, 60)
        data[places] = rng.integers(0, 256, 60)
        (folder / "data.mdb").write_bytes(data.tobytes())
        try:
            images = Lsun(folder, ImportOptions(resolution=32))
            for i in range(0, len(images), 10):
                images.read(i)
        except ToolError as err:
            messages.append(str(err))
    assert messages
    assert not any("\n" in message for message in messages)


def test_real_databases(shared):
    folder = shared / "data" / "formats" / "lmdb"
    for name, keys in {"gt": ["baboon", "comic"], "ffhq_gt": ["00000000"]}.items():
        images = Lsun(folder / f"{name}.lmdb", ImportOptions())
        assert [images.image_name(i) for i in range(len(images))] == keys
        assert images.read(0).image.shape == (3, 256, 256)


def test_without_a_database(tmp_path):
    with pytest.raises(ToolError, match=r"no data\.mdb in it"):
        Lsun(tmp_path, ImportOptions())
    (tmp_path / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(FormatError, match="not an LMDB, or damaged"):
        Lsun(tmp_path, ImportOptions())
    with pytest.raises(ToolError, match="empty"):
        Lsun(write(tmp_path / "empty", {}), ImportOptions())


def test_without_the_extra_the_remedy_is_said(tmp_path, monkeypatch):
    path = write(tmp_path / "a", {b"k": b""})
    real_import = builtins.__import__

    def without_lmdb(name, *args, **kwargs):
        if name == "lmdb":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_lmdb)
    with pytest.raises(MissingExtraError, match=r"import lsun needs the package 'lmdb'.*toolkit\[lsun\]"):
        Lsun(path, ImportOptions())
