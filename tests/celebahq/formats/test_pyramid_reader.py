import multiprocessing
import pickle
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from celebahq.errors import FormatError, ToolError
from celebahq.pyramid import PyramidReader, PyramidWriter, level_name, mip_levels

COUNT, RESOLUTION = 70, 64


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 64, (COUNT, 3, RESOLUTION, RESOLUTION), dtype=np.uint8)


@pytest.fixture(scope="module", params=["gzip", "none"])
def path(request, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("pyramid") / f"{request.param}.h5"
    with PyramidWriter(path, RESOLUTION, codec=request.param) as writer:
        writer.append(images, labels=np.eye(COUNT), meta={"name": [str(i) for i in range(COUNT)]})
    return path


def write_levels(path, images, **options):
    """A file of the original's layout."""
    with h5py.File(path, "w") as file:
        for level in mip_levels(images):
            file.create_dataset(level_name(level.shape[2]), data=level, **options)
    return path


@pytest.mark.parametrize("threads", [1, 4])
def test_any_order_and_repeats_at_every_level(path, images, rng, threads):
    reader = PyramidReader(path, threads=threads)
    assert (len(reader), reader.resolution, reader.channels) == (COUNT, RESOLUTION, 3)
    assert reader.levels == [64, 32, 16, 8, 4, 2, 1]
    for level in mip_levels(images):
        indices = rng.integers(0, COUNT, 200)
        np.testing.assert_array_equal(reader.read(indices, level.shape[2]), level[indices])
    np.testing.assert_array_equal(reader.read([3]), images[3:4])
    assert reader.read([]).shape == (0, 3, 64, 64)


def test_a_grey_pyramid(images, tmp_path):
    with PyramidWriter(tmp_path / "grey.h5", 64, 1) as writer:
        writer.append(images[:, :1])
    reader = PyramidReader(tmp_path / "grey.h5")
    assert reader.channels == 1
    np.testing.assert_array_equal(reader.read([2, 1]), images[[2, 1], :1])


@pytest.mark.parametrize("indices", [[COUNT], [-1], [0, 1000]])
def test_indices_out_of_range_are_named(path, indices):
    with pytest.raises(IndexError, match=f"70 images, asked for {min(indices)}..{max(indices)}"):
        PyramidReader(path).read(indices)


def test_an_absent_level_is_named(path):
    with pytest.raises(ValueError, match=r"\[64, 32, 16, 8, 4, 2, 1\], not 128"):
        PyramidReader(path).read([0], 128)


def test_from_many_threads_at_once(path, images, rng):
    reader = PyramidReader(path)
    batches = [rng.integers(0, COUNT, 32) for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(reader.read, batches))
    for indices, result in zip(batches, results, strict=True):
        np.testing.assert_array_equal(result, images[indices])


def test_a_pickled_reader_reads(path, images):
    reader = PyramidReader(path, threads=3)
    reader.read(range(COUNT))
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.threads == 3
    np.testing.assert_array_equal(copy.read([5, 4]), images[[5, 4]])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_other_processes(path, images, method):
    reader = PyramidReader(path, threads=2)
    reader.read(range(COUNT))  # its threads and descriptor exist before the fork
    with multiprocessing.get_context(method).Pool(2) as pool:
        results = pool.starmap(reader.read, [(range(i, COUNT, 7), 32) for i in range(7)])
    for i, result in enumerate(results):
        np.testing.assert_array_equal(result, mip_levels(images)[1][i::7])
    np.testing.assert_array_equal(reader.read(range(COUNT)), images)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_in_workers_of_a_data_loader(path, images):
    from torch.utils.data import DataLoader, Dataset

    reader = PyramidReader(path)

    class Images(Dataset):
        def __len__(self):
            return len(reader)

        def __getitem__(self, index):
            return reader.read([index])[0]

    reader.read(range(COUNT))
    loader = DataLoader(Images(), batch_size=16, num_workers=2, multiprocessing_context="fork")
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([batch.numpy() for batch in loader]), images)


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": None},
        {"chunks": (1, 1, 1, 1), "compression": "gzip"},
        {"chunks": True},
        {"chunks": True, "compression": "gzip", "shuffle": True},
        {"chunks": True, "compression": "lzf"},
        {"chunks": True, "compression": "gzip", "fletcher32": True},
    ],
    ids=["contiguous", "gzip", "chunked", "shuffled", "lzf", "checksums"],
)
@pytest.mark.parametrize("chunks", [None, (3, 2, 5, 7), (1, 3, 1, 16), (43, 3, 64, 64)])
def test_the_originals_layout_with_any_chunks(images, rng, tmp_path, options, chunks):
    path = tmp_path / "original.h5"
    with h5py.File(path, "w") as file:
        for level in mip_levels(images[:6]):
            choice = dict(options)
            if choice["chunks"]:
                choice["chunks"] = True
                if chunks:
                    choice["chunks"] = tuple(min(c, n) for c, n in zip(chunks, level.shape, strict=True))
            file.create_dataset(level_name(level.shape[2]), data=level, **choice)
    reader = PyramidReader(path)
    assert reader.format_version is None
    for level in mip_levels(images[:6]):
        indices = rng.integers(0, 6, 9)
        np.testing.assert_array_equal(reader.read(indices, level.shape[2]), level[indices])


def test_the_originals_own_chunks_and_labels(images, tmp_path):
    path = tmp_path / "original.h5"
    with h5py.File(path, "w") as file:
        for level in mip_levels(images):
            r = level.shape[2]
            file.create_dataset(
                level_name(r),
                data=level,
                maxshape=(None, 3, r, r),
                chunks=(-(-128 // (3 * r * r)), 3, r, r),  # its way to share chunks: 43 images at 1x1
                compression="gzip",
                compression_opts=4,
            )
    np.save(tmp_path / "original-labels.npy", np.eye(COUNT, 10))
    reader = PyramidReader(path)
    np.testing.assert_array_equal(reader.labels, np.eye(COUNT, 10))
    assert reader.labels.dtype == np.float32
    for level in mip_levels(images):
        np.testing.assert_array_equal(reader.read(range(COUNT), level.shape[2]), level)


def test_without_labels_there_are_none(images, tmp_path):
    assert PyramidReader(write_levels(tmp_path / "a.h5", images)).labels is None


@pytest.mark.parametrize("labels", [np.zeros((3, 2)), np.zeros(COUNT), np.array([["a"]] * COUNT)])
def test_labels_that_do_not_fit_are_refused(images, tmp_path, labels):
    path = write_levels(tmp_path / "a.h5", images)
    np.save(tmp_path / "a-labels.npy", labels)
    with pytest.raises(FormatError, match=r"a-labels\.npy: .*expected \[70, L\] numbers"):
        PyramidReader(path).labels  # noqa: B018


def test_pickled_labels_are_refused(images, tmp_path):
    path = write_levels(tmp_path / "a.h5", images)
    np.save(tmp_path / "a-labels.npy", np.array([{"code": 1}] * COUNT), allow_pickle=True)
    with pytest.raises(FormatError, match=r"a-labels\.npy: not an array of numbers"):
        PyramidReader(path).labels  # noqa: B018


def test_facts_that_are_absent_are_named(path):
    with pytest.raises(KeyError, match="no meta/quad; there are: name"):
        PyramidReader(path).meta("quad")


def change(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def replace(name, **options):
    def edit(file):
        del file[name]
        file.create_dataset(name, **options)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda f: f.__delitem__("data16x16"), r"levels \[64, 32, 8, 4, 2, 1\], expected \[64, 32, 16"),
        (lambda f: f.__delitem__("data1x1"), r"levels .* expected"),
        (replace("data8x8", shape=(70, 3, 8, 8), dtype="f4"), r"data8x8 is .* float32, expected .* uint8"),
        (
            replace("data8x8", shape=(69, 3, 8, 8), dtype="u1"),
            r"data8x8 has shape \(69, .*expected \(70, 3, 8, 8",
        ),
        (replace("data64x64", shape=(70, 3, 64), dtype="u1"), r"data64x64 is \(70, 3, 64\)"),
        (lambda f: f.create_dataset("data96x96", (70, 3, 96, 96), "u1"), "power of two"),
        (lambda f: f.attrs.__setitem__("format_version", 99), "format version 99.*update"),
        (lambda f: f.attrs.__setitem__("format", "other"), "format 'other'"),
        (lambda f: f.attrs.__setitem__("provenance", "{"), "damaged"),
    ],
)
def test_a_wrong_structure_is_named(images, tmp_path, edit, message):
    path = tmp_path / "a.h5"
    with PyramidWriter(path, 64) as writer:
        writer.append(images)
    with pytest.raises(FormatError, match=rf"a\.h5: .*{message}"):
        PyramidReader(change(path, edit))


def test_another_hdf5_file_is_not_a_pyramid(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(FormatError, match="not a pyramid"):
        PyramidReader(tmp_path / "a.h5")


def test_other_paths(tmp_path):
    with pytest.raises(ToolError, match=r"a\.h5: no such file"):
        PyramidReader(tmp_path / "a.h5")
    with pytest.raises(ToolError, match="no such file"):
        PyramidReader(tmp_path)
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(FormatError, match="not a readable HDF5 file"):
        PyramidReader(tmp_path / "text.h5")
    (tmp_path / "empty.h5").touch()
    with pytest.raises(FormatError, match="not a readable HDF5 file"):
        PyramidReader(tmp_path / "empty.h5")


def test_chunks_never_written_are_counted(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for r in (2, 1):
            file.create_dataset(level_name(r), (9, 3, r, r), "u1", chunks=(4, 3, r, r))
        file["data2x2"][:4] = 1
    with pytest.raises(FormatError, match=r"data2x2: 1 of 3 chunks were written"):
        PyramidReader(tmp_path / "a.h5").read([0])


def test_a_damaged_chunk_is_named(images, tmp_path):
    path = tmp_path / "a.h5"
    with PyramidWriter(path, 64) as writer:
        writer.append(images)
    with h5py.File(path) as file:
        place = file["data64x64"].id.get_chunk_info(9).byte_offset
    with path.open("r+b") as file:
        file.seek(place + 1000)
        file.write(b"\0" * 8)
    reader = PyramidReader(path)
    np.testing.assert_array_equal(reader.read([8]), images[8:9])
    with pytest.raises(FormatError, match=r"a\.h5: data64x64: chunk 9: .*damaged"):
        reader.read(range(COUNT))


def other_file(path, images):
    """A pyramid of the same shapes and other pixels."""
    with PyramidWriter(path, RESOLUTION) as writer:
        writer.append(images[::-1], labels=np.eye(COUNT)[::-1])
    return path


@pytest.mark.parametrize("codec", ["gzip", "lzf"])
def test_a_file_that_takes_the_name_is_not_read(images, tmp_path, codec):
    path = tmp_path / "a.h5"
    with PyramidWriter(path, RESOLUTION, codec=codec) as writer:
        writer.append(images, labels=np.eye(COUNT))
    reader = PyramidReader(path)
    other_file(tmp_path / "b.h5", images).rename(path)
    np.testing.assert_array_equal(reader.read(range(COUNT)), images)  # of the file that it holds open
    np.testing.assert_array_equal(reader.labels, np.eye(COUNT))
    reader.close()
    with pytest.raises(FormatError, match=r"a\.h5: changed since it was opened"):
        reader.read([0])
    with pytest.raises(FormatError, match=r"a\.h5: changed since it was opened"):
        reader.read([0])


@pytest.mark.parametrize("codec", ["gzip", "lzf"])
def test_a_file_changed_in_place_is_an_error(images, tmp_path, codec):
    path = tmp_path / "a.h5"
    with PyramidWriter(path, RESOLUTION, codec=codec) as writer:
        writer.append(images)
    reader = PyramidReader(path)
    reader.read([0])
    path.write_bytes(other_file(tmp_path / "b.h5", images).read_bytes())
    with pytest.raises(FormatError, match=r"a\.h5: changed since it was opened"):
        reader.read([0])


def test_a_pickled_reader_wants_the_same_file(images, tmp_path):
    path = tmp_path / "a.h5"
    with PyramidWriter(path, RESOLUTION) as writer:
        writer.append(images)
    pickled = pickle.dumps(PyramidReader(path))
    other_file(tmp_path / "b.h5", images).rename(path)
    with pytest.raises(FormatError, match=r"a\.h5: changed since it was opened"):
        pickle.loads(pickled)


def test_the_same_file_under_another_inode_is_the_same(images, tmp_path):
    path = tmp_path / "a.h5"
    with PyramidWriter(path, RESOLUTION) as writer:
        writer.append(images)
    reader = PyramidReader(path)
    reader.close()
    shutil.copy2(path, tmp_path / "copy.h5")
    (tmp_path / "copy.h5").rename(path)
    np.testing.assert_array_equal(reader.read([1]), images[1:2])


def test_labels_changed_by_a_bit_are_not_read(images, tmp_path):
    path = tmp_path / "a.h5"
    with PyramidWriter(path, RESOLUTION) as writer:
        writer.append(images, labels=np.eye(COUNT), meta={"name": ["n"] * COUNT})
    change(path, lambda file: file["labels"].__setitem__((4, 4), 0))
    with pytest.raises(FormatError, match=r"a\.h5: labels: not the values that were written"):
        PyramidReader(path).labels  # noqa: B018
    assert PyramidReader(path).meta("name").tolist() == ["n"] * COUNT


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda f: f.create_dataset("labels", (2, 10**9), "f8"), r"labels: .* more than the file can hold"),
        (lambda f: f.create_dataset("labels", (2, 10**6), "f8"), None),  # 16 MB of nothing is allowed
    ],
)
def test_labels_are_checked_before_memory_is_taken(tmp_path, edit, message):
    path = write_levels(tmp_path / "a.h5", np.zeros((2, 3, 2, 2), np.uint8))
    reader = PyramidReader(change(path, edit))
    if message is None:
        assert reader.labels.shape == (2, 10**6)
        return
    with pytest.raises(FormatError, match=message):
        reader.labels  # noqa: B018


@pytest.mark.parametrize("shape", [(10**12, 3), (1, 10**12)])
def test_more_images_than_a_file_can_hold(tmp_path, shape):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for r in (2, 1):
            file.create_dataset(level_name(r), (*shape, r, r), "u1", chunks=(1, 3, r, r))
    with pytest.raises(FormatError, match="more than the file can hold"):
        PyramidReader(tmp_path / "a.h5")


def test_a_chunk_larger_than_its_bytes_can_hold(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for r in (2, 1):
            options = {"chunks": (1 << 29, 1, r, r), "compression": "gzip", "maxshape": (None, 1, r, r)}
            file.create_dataset(level_name(r), (1, 1, r, r), "u1", **options)
            file[level_name(r)].id.write_direct_chunk((0, 0, 0, 0), zlib.compress(b"x"))
    with pytest.raises(FormatError, match=r"data2x2: chunk 0: 9 bytes cannot hold 2,147,483,648"):
        PyramidReader(tmp_path / "a.h5").read([0])


def read_everything(path):
    with PyramidReader(path, threads=1) as reader:
        for resolution in reader.levels:
            reader.read(range(len(reader)), resolution)
        _ = reader.labels
        for name in reader.meta_names:
            reader.meta(name)


def test_a_truncated_file_is_one_clear_error(images, tmp_path):
    whole = tmp_path / "a.h5"
    with PyramidWriter(whole, 64) as writer:
        writer.append(images[:3], labels=np.eye(3), meta={"name": ["a", "b", "c"]})
    content = whole.read_bytes()
    for length in range(0, len(content), 311):
        cut = tmp_path / "cut.h5"
        cut.write_bytes(content[:length])
        with pytest.raises(FormatError, match=r"cut\.h5: [^\n]*$"):
            read_everything(cut)


def test_damaged_bytes_never_end_in_another_error(images, tmp_path, rng):
    whole = tmp_path / "a.h5"
    with PyramidWriter(whole, 64) as writer:
        writer.append(images[:3], labels=np.eye(3), meta={"name": ["a", "b", "c"]})
    content = np.frombuffer(whole.read_bytes(), np.uint8)
    messages = []
    for _ in range(150):
        damaged = content.copy()
        damaged[rng.integers(0, len(content), 40)] = rng.integers(0, 256, 40)
        (tmp_path / "b.h5").write_bytes(damaged.tobytes())
        try:
            read_everything(tmp_path / "b.h5")
        except FormatError as err:
            messages.append(str(err))
    assert len(messages) > 100
    assert not any("\n" in message for message in messages)
