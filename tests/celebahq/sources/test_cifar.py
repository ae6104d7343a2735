import io
import os
import pickle
import struct
from typing import ClassVar

import numpy as np
import pytest

from celebahq.errors import FormatError, ToolError
from celebahq.sources.cifar import Cifar10
from celebahq.sources.data_set import ImportOptions

PARTIAL = ImportOptions(split="test", partial=True)


def open_batch(folder, content):
    data = content if isinstance(content, bytes) else pickle.dumps(content, protocol=2)
    (folder / "test_batch").write_bytes(data)
    return Cifar10(folder, PARTIAL)


def batch(**changes):
    rows = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
    return {"data": rows, "labels": [3, 4], "filenames": ["a.png", "b.png"]} | changes


class Spy:
    """Asks to be unpickled by running a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_batch_cannot_run_code(tmp_path):
    with pytest.raises(FormatError, match=r"test_batch: .*it asks for (posix|nt)\.system"):
        open_batch(tmp_path, batch(labels=Spy(tmp_path / "ran")))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["builtins eval", "numpy.core.multiarray fromfile", "numpy load", "os system"]
)
def test_other_names_are_refused(tmp_path, name):
    module, function = name.split()
    with pytest.raises(FormatError, match=f"it asks for {module}.{function}"):
        open_batch(tmp_path, f"c{module}\n{function}\n(V1\ntR.".encode())


class Python2Pickler(pickle._Pickler):
    """Writes all strings as Python 2 did, which is how the published batches are."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)

    dispatch[bytes] = dispatch[str] = save_string


def test_batches_of_python_2_are_read(tmp_path):
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(batch())
    data = file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in data
    assert b"_codecs" not in data
    images = open_batch(tmp_path, data)
    np.testing.assert_array_equal(images.read(1).image.ravel(), batch()["data"][1])
    assert images.image_name(1) == "b.png"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps(batch())[:500],
        [1, 2],
        batch(data=np.zeros((2, 3071), np.uint8)),
        batch(data=np.zeros((2, 3072), np.float32)),
        batch(data=np.zeros((3, 3072), np.uint8)),
        batch(labels=[3, 10]),
        batch(labels=[3, "4"]),
        batch(filenames=["a.png"]),
        {"data": batch()["data"]},
    ],
    ids=range(11),
)
def test_damaged_batches_are_named(tmp_path, content):
    with pytest.raises(FormatError, match=r"test_batch: (not one of|expected 'data')"):
        open_batch(tmp_path, content)


def test_a_missing_batch_is_named_with_the_download(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"")
    with pytest.raises(ToolError, match=r"data_batch_2: not found; cifar-10-python\.tar\.gz \(163 MB\)"):
        Cifar10(tmp_path, ImportOptions())


def test_real_batches(shared):
    folder = shared / "data" / "formats" / "cifar-10-batches-py"
    images = Cifar10(folder, ImportOptions(partial=True))
    assert len(images) == 500
    assert images.read(499).image.shape == (3, 32, 32)
    assert sum(images.read(i).label for i in range(500)).sum() == 500
