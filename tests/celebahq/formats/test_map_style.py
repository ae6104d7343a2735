"""A pyramid file is a data set by itself: for people who index it, and for PyTorch."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

import celebahq
from celebahq.pyramid import PyramidWriter, mip_levels

COUNT = 20
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 16, 16), np.uint8)
SMALL = mip_levels(IMAGES)[2]  # 4x4


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("map") / "faces.h5"
    with PyramidWriter(path, 16) as writer:
        writer.append(IMAGES, labels=np.eye(COUNT))
    return path


@pytest.fixture
def faces(path):
    with celebahq.open(path) as faces:
        yield faces


def test_one_image_by_its_number(faces):
    assert len(faces) == COUNT
    for index in (0, 7, -1, -COUNT, np.int64(3), np.uint8(3), np.array(4)):
        np.testing.assert_array_equal(faces[index], IMAGES[index])
        np.testing.assert_array_equal(faces.at(4)[index], SMALL[index])


@pytest.mark.parametrize(
    "several",
    [
        [3, 1],
        [-1, 0, 0],
        (2,),
        [],
        range(5, 2, -1),
        slice(2, 5),
        slice(None, None, -7),
        np.array([4, 2], np.uint8),
        np.arange(COUNT) % 3 == 1,
        [True] * COUNT,
    ],
    ids=str,
)
def test_several_images_as_numpy_would_give_them(faces, several):
    kind = bool if isinstance(several, list) and several[:1] == [True] else int
    wanted = several if isinstance(several, slice | np.ndarray) else np.array(several, kind)
    np.testing.assert_array_equal(faces[several], IMAGES[wanted])
    np.testing.assert_array_equal(faces.at(4)[several], SMALL[wanted])


def test_tensors_are_indices_too(faces):
    import torch

    np.testing.assert_array_equal(faces[torch.tensor([3, 1])], IMAGES[[3, 1]])
    np.testing.assert_array_equal(faces[torch.tensor(3)], IMAGES[3])
    np.testing.assert_array_equal(faces[torch.tensor([3])], IMAGES[[3]])


@pytest.mark.parametrize("index", [COUNT, -COUNT - 1, [0, COUNT], [-COUNT - 1]])
def test_numbers_of_no_image(faces, index):
    with pytest.raises(IndexError, match="20 images"):
        faces[index]


@pytest.mark.parametrize("index", [1.0, "3", [1.5], [True, False], [[1, 2]], None])
def test_what_is_no_number(faces, index):
    with pytest.raises(TypeError):
        faces[index]


def test_iterating_ends(faces):
    np.testing.assert_array_equal(np.stack(list(faces)), IMAGES)


def test_levels_that_the_file_has_not(faces):
    with pytest.raises(ValueError, match=r"faces.h5 has \[16, 8, 4, 2, 1\], not 32"):
        faces.at(32)
    assert faces.at(8).resolution == 8


def test_a_level_can_be_sent_to_another_process(faces):
    again = pickle.loads(pickle.dumps(faces.at(4)))
    np.testing.assert_array_equal(again[[2, 1]], SMALL[[2, 1]])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_in_a_data_loader(faces, method):
    from torch.utils.data import DataLoader

    faces.at(4)[0]  # its descriptor exists before the fork
    for images, expected in ((faces, IMAGES), (faces.at(4), SMALL)):
        loader = DataLoader(images, batch_size=8, num_workers=2, multiprocessing_context=method)
        batches = [batch.numpy() for batch in loader]
        assert [len(batch) for batch in batches] == [8, 8, 4]
        np.testing.assert_array_equal(np.concatenate(batches), expected)


def test_a_minibatch_is_read_at_once(faces, monkeypatch):
    from torch.utils.data import DataLoader

    calls = []
    read = type(faces).read
    monkeypatch.setattr(
        type(faces), "read", lambda self, *args: calls.append(len(args[0])) or read(self, *args)
    )
    assert len(list(DataLoader(faces, batch_size=8))) == 3
    assert calls == [8, 8, 4]


def test_a_data_set_does_not_need_torch(path):
    code = "import sys, celebahq; celebahq.open(sys.argv[1]).at(4)[[0]]; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
