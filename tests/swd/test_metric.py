import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from swd import SlicedWassersteinDistance, compare

PROTOCOL = {"patches": 16, "repeats": 2, "directions_per_repeat": 8}
LEVELS = ["32", "16", "average"]


@pytest.fixture(scope="module")
def images(noise):
    """12 reals and 10 fakes of 32 px."""
    return torch.from_numpy(noise(12, 32, seed=1)), torch.from_numpy(noise(10, 32, seed=2, slope=1.4))


def feed(metric, images, batch):
    for real, pictures in zip((True, False), images, strict=True):
        for part in torch.split(pictures, batch):
            metric.update(part, real)
    return metric


@pytest.fixture(scope="module")
def figures(images):
    return feed(SlicedWassersteinDistance(**PROTOCOL), images, 12).compute()


def test_figures_are_those_of_the_command(reals, fakes, tmp_path):
    metric = feed(SlicedWassersteinDistance(), map(torch.from_numpy, (reals.images[:20], fakes.images)), 20)
    np.save(tmp_path / "reals.npy", reals.images[:20])
    distance = compare(tmp_path / "reals.npy", fakes.npy).rows[0].distance
    found = metric.compute()
    assert list(found) == [*LEVELS, *(f"{level}_se" for level in LEVELS)]
    for name, estimate in {**distance.levels, "average": distance.average}.items():
        assert found[str(name)].item() == pytest.approx(estimate.value, rel=1e-6)
        assert found[f"{name}_se"].item() == pytest.approx(estimate.se, rel=1e-6)


@pytest.mark.parametrize("batch", [1, 5])
def test_batches_do_not_matter(images, figures, batch):
    assert feed(SlicedWassersteinDistance(**PROTOCOL), images, batch).compute() == figures


def test_order_does_not_matter_when_indices_are_given(images, figures):
    metric = SlicedWassersteinDistance(**PROTOCOL)
    for real, pictures in zip((True, False), images, strict=True):
        order = torch.randperm(len(pictures))
        metric.update(pictures[order], real, indices=order)
    assert metric.compute() == figures


def test_no_more_than_num_images_are_kept(images):
    metric = feed(SlicedWassersteinDistance(**PROTOCOL, num_images=7), images, 4)
    assert sum(map(len, metric.real_parts)) == sum(map(len, metric.fake_parts)) == 7
    few = feed(SlicedWassersteinDistance(**PROTOCOL), [pictures[:7] for pictures in images], 7)
    assert metric.compute() == few.compute()


def test_reset_starts_anew(images, figures):
    metric = feed(SlicedWassersteinDistance(**PROTOCOL), [pictures[:3] for pictures in images], 3)
    metric.reset()
    assert feed(metric, images, 6).compute() == figures


def test_float_images_of_any_range_give_the_same(images, figures):
    scaled = [pictures.float() / 127.5 - 1 for pictures in images]
    found = feed(SlicedWassersteinDistance(**PROTOCOL), scaled, 12).compute()
    for level in LEVELS:
        assert found[level].item() == pytest.approx(figures[level].item(), rel=1e-4)


def test_it_can_be_pickled(images, figures):
    metric = pickle.loads(pickle.dumps(feed(SlicedWassersteinDistance(**PROTOCOL), images, 12)))
    assert metric.compute() == figures


def test_images_stay_as_they_are(images):
    before = [pictures.clone() for pictures in images]
    feed(SlicedWassersteinDistance(**PROTOCOL), images, 12)
    assert all(torch.equal(x, y) for x, y in zip(before, images, strict=True))


@pytest.mark.parametrize("shape", [(2, 3, 32, 16), (2, 3, 24, 24), (2, 3, 8, 8), (3, 32, 32)])
def test_images_of_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"^images: expected"):
        SlicedWassersteinDistance().update(torch.zeros(shape), True)


def test_indices_of_another_number_are_refused(images):
    with pytest.raises(ValueError, match=r"indices: expected \[12\]"):
        SlicedWassersteinDistance().update(images[0], True, indices=torch.arange(3))


def test_an_empty_set_is_named(images):
    metric = SlicedWassersteinDistance(**PROTOCOL)
    metric.update(images[0], True)
    with pytest.raises(ValueError, match="no fake images"):
        metric.compute()


def test_sets_of_different_sizes_are_refused(images):
    metric = SlicedWassersteinDistance(**PROTOCOL)
    metric.update(images[0], True)
    metric.update(torch.zeros(2, 3, 16, 16), False)
    with pytest.raises(ValueError, match="must agree"):
        metric.compute()


TWO_PROCESSES = """
import json, sys
import torch
from torch import distributed
from swd import SlicedWassersteinDistance

distributed.init_process_group("gloo")
rank = distributed.get_rank()
figures = []
for num_images in (9, 1):  # the one is in one process only
    metric = SlicedWassersteinDistance(patches=16, repeats=2, directions_per_repeat=8, num_images=num_images)
    for real, pictures in zip((True, False), torch.load(sys.argv[1])):
        for part in torch.split(pictures[rank::2], 3):
            metric.update(part, real)
    figures.append({name: value.item() for name, value in metric.compute().items()})
if rank == 0:
    with open(sys.argv[2], "w") as file:
        json.dump(figures, file)
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(images, tmp_path):
    torch.save(list(images), tmp_path / "images.pt")
    script = tmp_path / "script.py"
    script.write_text(TWO_PROCESSES)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*torchrun, script, tmp_path / "images.pt", tmp_path / "out.json"], check=True, timeout=300
    )
    found = json.loads(Path(tmp_path / "out.json").read_text())
    for num_images, of_two in zip((9, 1), found, strict=True):
        expected = feed(SlicedWassersteinDistance(**PROTOCOL, num_images=num_images), images, 12).compute()
        values = {name: value.item() for name, value in expected.items()}
        assert of_two == pytest.approx(values, rel=0, nan_ok=True)


@pytest.mark.gpu
def test_cuda_gives_the_figures_of_the_cpu(images, figures):
    metric = SlicedWassersteinDistance(**PROTOCOL, store_on="cuda").to("cuda")
    found = feed(metric, [pictures.cuda() for pictures in images], 5).compute()
    for level in LEVELS:
        assert found[level].item() == pytest.approx(figures[level].item(), rel=1e-4)
