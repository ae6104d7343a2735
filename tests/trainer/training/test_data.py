"""The order of the reals depends on (seed, position) alone; fades are computed in float."""

import numpy as np
import pytest
import torch

from celebahq.pyramid import MANIFEST, Manifest, Part, PyramidWriter, write_manifest
from trainer.configuration.schedule import Phase
from trainer.storage.runs import describe_data
from trainer.training.data import TrainingData, to_network_range
from trainer.training.losses import real_fade
from trainer.training.plan import StepPlan

COUNT = 13


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    """13 images of 8x8 whose first pixel names them."""
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (COUNT, 3, 8, 8), dtype=np.uint8)
    images[:, 0, 0, 0] = images[:, 0, 0, -1] = np.arange(COUNT)
    labels = np.eye(COUNT, dtype=np.float32)
    with PyramidWriter(path, resolution=8) as writer:
        writer.append(images, labels=labels)
    return path, images


def plan(resolution: int, minibatch: int, rows: np.ndarray) -> StepPlan:
    phase = Phase(0.0, 0.0, resolution, minibatch, learning_rate=0.001, tick_kimg=1.0)
    return StepPlan(phase, 0.0, (rows,))


def served(data: TrainingData, first: int, minibatch: int, steps: int, rows: np.ndarray) -> list[int]:
    names = []
    for step in range(steps):
        images, _ = data.next(first + step * minibatch, plan(8, minibatch, rows))
        names += images[:, 0, 0, 0].tolist()
    return names


def test_every_epoch_shows_every_image_once_in_its_own_order(pyramid):
    with TrainingData(pyramid[0], seed=1, mirror=False) as data:
        names = served(data, 0, COUNT, 2, np.arange(COUNT))
    assert sorted(names[:COUNT]) == sorted(names[COUNT:]) == list(range(COUNT))
    assert names[:COUNT] != names[COUNT:]


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_the_order_does_not_depend_on_minibatch_process_or_memory(pyramid, cache_bytes):
    with TrainingData(pyramid[0], seed=1, mirror=True) as data:
        whole = served(data, 0, 6, 8, np.arange(6))
    with TrainingData(pyramid[0], seed=1, mirror=True, cache_bytes=cache_bytes) as data:
        assert served(data, 0, 4, 12, np.arange(4)) == whole
        first_rank = served(data, 0, 6, 8, np.array([0, 2, 4]))
        second_rank = served(data, 0, 6, 8, np.array([1, 3, 5]))
    assert np.stack([first_rank, second_rank], axis=1).ravel().tolist() == whole


def test_a_run_continues_in_mid_epoch(pyramid):
    with TrainingData(pyramid[0], seed=2, mirror=True) as data:
        whole = served(data, 0, 4, 10, np.arange(4))
    with TrainingData(pyramid[0], seed=2, mirror=True) as data:
        assert served(data, 20, 4, 5, np.arange(4)) == whole[20:]


def test_a_jump_drops_what_was_read_ahead(pyramid):
    with TrainingData(pyramid[0], seed=2, mirror=False) as data:
        whole = served(data, 0, 4, 10, np.arange(4))
        assert served(data, 8, 4, 1, np.arange(4)) == whole[8:12]
        assert data.next(8, plan(4, 4, np.arange(4)))[0].shape == (4, 3, 4, 4)
        assert served(data, 8, 4, 1, np.arange(4)) == whole[8:12]


def test_half_of_the_images_are_mirrored_and_labels_follow_their_images(pyramid):
    path, images = pyramid
    with TrainingData(path, seed=3, mirror=True) as data:
        shown, labels = data.next(0, plan(8, 100, np.arange(100)))
        indices = data.indices(np.arange(100))
    straight = torch.from_numpy(images[indices])
    as_they_are = (shown == straight).flatten(1).all(dim=1)
    mirrored = (shown == straight.flip(3)).flatten(1).all(dim=1)
    assert bool((as_they_are ^ mirrored).all())
    assert 30 <= int(mirrored.sum()) <= 70  # 4 sigma
    assert labels is not None
    assert labels.argmax(dim=1).tolist() == indices.tolist()


def test_fading_holds_the_golden_values(golden):
    values = golden("real_fade", torch.float32)
    names = [name for name in values if name.startswith("float_lod")]
    assert names
    for name in names:
        faded = real_fade(to_network_range(values["images_u8"]), float(name.removeprefix("float_lod")))
        torch.testing.assert_close(faded, values[name], rtol=1e-5, atol=1e-5)


def test_several_files_are_served_as_one(pyramid, tmp_path):
    _, images = pyramid
    parts = []
    for number, (start, stop) in enumerate([(0, 6), (6, COUNT)]):
        path = tmp_path / f"{number}.h5"
        with PyramidWriter(path, resolution=8) as writer:
            writer.append(images[start:stop], labels=np.eye(COUNT, dtype=np.float32)[start:stop])
        parts.append(Part.of(path))
    write_manifest(Manifest(tmp_path / MANIFEST, {}, tuple(parts)))
    assert describe_data(tmp_path) == describe_data(pyramid[0])
    with (
        TrainingData(tmp_path, seed=1, mirror=True, cache_bytes=0) as several,
        TrainingData(pyramid[0], seed=1, mirror=True, cache_bytes=0) as one,
    ):
        step = plan(8, 2 * COUNT, np.arange(2 * COUNT))
        for mine, expected in zip(several.next(3, step), one.next(3, step), strict=True):
            assert torch.equal(mine, expected)
