import errno
import json
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from celebahq.errors import FormatError, ToolError
from celebahq.formats.codecs import CODECS
from celebahq.pyramid import (
    FORMAT_NAME,
    FORMAT_VERSION,
    PyramidReader,
    PyramidWriter,
    encode_image,
    mip_levels,
)

FACTS = {"name": ["a", "", "Zoë"] * 8, "orig_idx": np.arange(24), "quad": np.ones((24, 4, 2))}


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.integers(0, 256, (24, 3, 64, 64), dtype=np.uint8) // 16


def write(path, images, **options):
    with PyramidWriter(path, images.shape[2], images.shape[1], **options) as writer:
        writer.append(images)
    return path


@pytest.mark.parametrize("codec", ["gzip", "none", "lzf"])
def test_stock_h5py_reads_every_level(codec, images, tmp_path):
    with h5py.File(write(tmp_path / "a.h5", images, codec=codec)) as file:
        assert sorted(file) == sorted(f"data{r}x{r}" for r in (64, 32, 16, 8, 4, 2, 1))
        for level in mip_levels(images):
            dataset = file[f"data{level.shape[2]}x{level.shape[2]}"]
            assert dataset.dtype == np.uint8
            np.testing.assert_array_equal(dataset[:], level)


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_gives_back_the_images(codec, images, tmp_path, rng):
    images[::2] = rng.integers(0, 256, images[::2].shape)  # these do not compress
    reader = PyramidReader(write(tmp_path / "a.h5", images, codec=codec))
    for level in mip_levels(images):
        np.testing.assert_array_equal(reader.read(range(24), level.shape[2]), level)


def test_chunks_hold_one_image_or_many(images, tmp_path):
    with h5py.File(write(tmp_path / "a.h5", images)) as file:
        assert [file[f"data{r}x{r}"].chunks[0] for r in (64, 32, 16, 8, 1)] == [1, 1, 16, 64, 4096]


def test_root_attributes_say_what_the_file_is(images, tmp_path):
    with h5py.File(write(tmp_path / "a.h5", images, provenance={"tool": "test", "n": [1]})) as file:
        assert file.attrs["format"] == FORMAT_NAME == "celebahq-pyramid"
        assert file.attrs["format_version"] == FORMAT_VERSION
        assert json.loads(file.attrs["provenance"]) == {"tool": "test", "n": [1]}


def test_labels_and_facts_are_kept(images, tmp_path):
    with PyramidWriter(tmp_path / "a.h5", 64) as writer:
        writer.append(images, labels=np.eye(24), meta=FACTS)
    reader = PyramidReader(tmp_path / "a.h5")
    np.testing.assert_array_equal(reader.labels, np.eye(24, dtype=np.float32))
    assert reader.labels.dtype == np.float32
    assert reader.meta("name").tolist() == FACTS["name"]
    np.testing.assert_array_equal(reader.meta("orig_idx"), FACTS["orig_idx"])
    np.testing.assert_array_equal(reader.meta("quad"), FACTS["quad"])


def test_bytes_do_not_depend_on_time_or_on_how_images_arrive(images, tmp_path):
    with PyramidWriter(tmp_path / "a.h5", 64, provenance={"a": 1, "b": 2}) as writer:
        writer.append(images, labels=np.eye(24), meta=FACTS)
    time.sleep(1.1)  # HDF5's timestamps count seconds
    with PyramidWriter(tmp_path / "b.h5", 64) as writer:
        writer.append(images[:5], np.eye(24)[:5], {name: values[:5] for name, values in FACTS.items()})
        for i in range(5, 24):
            facts = {name: values[i] for name, values in FACTS.items()}
            writer.append_encoded(encode_image(images[i]), np.eye(24)[i], facts)
        writer.provenance = {"b": 2, "a": 1}
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_checksums_are_of_the_values_in_a_stated_form(images, tmp_path):
    import zlib

    labels, sizes = np.eye(24, dtype=np.float32), np.arange(24, dtype=np.int32)
    with PyramidWriter(tmp_path / "a.h5", 64, provenance={"a": 1}) as writer:
        writer.append(images, labels, {"name": ["a", "", "Zoë"] * 8, "size": sizes})
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["labels"].attrs["crc32"] == zlib.crc32(labels.tobytes())
        assert file["meta/name"].attrs["crc32"] == zlib.crc32("a\0\0Zoë\0".encode() * 8)
        assert file["meta/size"].attrs["crc32"] == zlib.crc32(sizes.astype("<i4").tobytes())
        lines = ["celebahq-pyramid 2", '{"a": 1}']
        for name, kind in [(f"data{r}x{r}", "uint8") for r in (16, 1, 2, 32, 4, 64, 8)] + [
            ("labels", "float32"),
            ("meta/name", "text"),
            ("meta/size", "int32"),
        ]:
            shape = "x".join(map(str, file[name].shape))
            lines.append(f"{name} {shape} {kind} {file[name].attrs['crc32']}")
        assert file.attrs["crc32"] == zlib.crc32("\n".join(lines).encode())


def test_text_with_a_nul_is_refused_at_once(images, tmp_path):
    with (
        pytest.raises(ValueError, match=r"meta/name: 'a\\x00b' holds a NUL"),
        PyramidWriter(tmp_path / "a.h5", 64) as writer,
    ):
        writer.append(images[:1], meta={"name": ["a\0b"]})


def test_an_existing_file_is_replaced_only_when_told(images, tmp_path):
    path = write(tmp_path / "a.h5", images)
    before = path.read_bytes()
    with pytest.raises(ToolError, match=r"a\.h5: exists already"):
        PyramidWriter(path, 64)
    assert path.read_bytes() == before
    write(path, images[:1], overwrite=True)
    assert len(PyramidReader(path)) == 1


def test_a_failure_leaves_nothing(images, tmp_path):
    with pytest.raises(RuntimeError, match="stop"), PyramidWriter(tmp_path / "a.h5", 64) as writer:
        writer.append(images)
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_leaves_the_old_file(images, tmp_path):
    path = write(tmp_path / "a.h5", images)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="stop"), PyramidWriter(path, 64, overwrite=True) as writer:
        writer.append(images[:3])
        raise RuntimeError("stop")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_no_images_no_file(tmp_path):
    with pytest.raises(ToolError, match="no images"), PyramidWriter(tmp_path / "a.h5", 64):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_back_is_not_published(images, tmp_path):
    with (
        pytest.raises(FormatError, match=r"a\.h5: not written, as data64x64 cannot be read back"),
        PyramidWriter(tmp_path / "a.h5", 64) as writer,
    ):
        writer.append(images)
        writer._file.flush()
        place = writer._file["data64x64"].id.get_chunk_info(5).byte_offset
        with (tmp_path / "a.h5.partial").open("r+b") as file:  # as a failing disk would
            file.seek(place + 100)
            file.write(b"\0\0\0\0")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(images, tmp_path, monkeypatch):
    def no_space(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(PyramidWriter, "_finish", no_space)
    with pytest.raises(ToolError, match=r"a\.h5: not written, for the disk is full"):
        write(tmp_path / "a.h5", images)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_no_file_under_the_name(tmp_path):
    script = (
        "import sys, time, numpy as np\n"
        "from celebahq.pyramid import PyramidWriter\n"
        "with PyramidWriter(sys.argv[1], 64) as writer:\n"
        "    writer.append(np.zeros((9, 3, 64, 64), np.uint8))\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
    )
    path = tmp_path / "a.h5"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    write(path, np.zeros((1, 3, 64, 64), np.uint8))  # what was left does not hinder the next
    assert list(tmp_path.iterdir()) == [path]


def test_calls_that_do_not_fit_are_refused(images, tmp_path):
    with PyramidWriter(tmp_path / "a.h5", 64) as writer:
        writer.append(images, meta={"name": ["a"] * 24, "size": [1] * 24})
        with pytest.raises(ValueError, match=r"images: expected .*64.* uint8, got .*float32"):
            writer.append(images.astype(np.float32))
        with pytest.raises(ValueError, match="images: expected"):
            writer.append(images[:, :1])
        with pytest.raises(ValueError, match="labels: 2 values for 24 images"):
            writer.append(images, labels=np.eye(2))
        with pytest.raises(ValueError, match="earlier images have"):
            writer.append(images[:1], meta={"name": ["a"]})
        with pytest.raises(ValueError, match="earlier images have"):
            writer.append(images[:1], labels=np.eye(1), meta={"name": ["a"], "size": [1]})
        with pytest.raises(ValueError, match="blobs: expected 7"):
            writer.append_encoded([b""])
    with pytest.raises(ValueError, match="power of two"):
        PyramidWriter(tmp_path / "b.h5", 48)
    with pytest.raises(ValueError, match="channels"):
        PyramidWriter(tmp_path / "b.h5", 64, 4)


def test_a_fact_keeps_its_type(images, tmp_path):
    with (
        pytest.raises(ValueError, match=r"meta/size: \(\) float64, earlier \(\) int64"),
        PyramidWriter(tmp_path / "a.h5", 64) as writer,
    ):
        writer.append(images[:2], meta={"size": [1, 1.5]})
    with (
        pytest.raises(ValueError, match="expected a string or numbers, got object"),
        PyramidWriter(tmp_path / "a.h5", 64) as writer,
    ):
        writer.append(images[:1], meta={"size": [None]})


MEMORY_SCRIPT = """
import resource, sys
import numpy as np
from celebahq.pyramid import PyramidWriter, encode_image

def peak_mib():
    try:
        lines = open("/proc/self/status").read().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

noise = np.random.default_rng(0).integers(0, 256, (3, 1024, 1024), dtype=np.uint8)
blobs = encode_image(np.zeros((3, 1024, 1024), np.uint8))
with PyramidWriter(sys.argv[1], 1024) as writer:
    writer.append(noise[None], meta={"name": ["x" * 40]}, labels=np.zeros((1, 40)))
    for n in range(int(sys.argv[2])):
        writer.append_encoded(blobs, meta={"name": "x" * 40}, label=np.zeros(40))
print(peak_mib())
"""


@pytest.mark.slow
def test_memory_stays_under_200_mb_whatever_the_number_of_images(tmp_path):
    peaks = []
    for count in (1, 6_000):
        path = tmp_path / f"{count}.h5"
        command = [sys.executable, "-c", MEMORY_SCRIPT, str(path), str(count)]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        path.unlink()
    assert max(peaks) < 200
    assert peaks[1] - peaks[0] < 40  # HDF5's own cache of the chunk index, at most 32 MB
