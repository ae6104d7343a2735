import json
import pickle
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot
import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection
from torchmetrics.wrappers import BootStrapper, MetricTracker

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


@pytest.mark.parametrize("other", [(2, 3, 64, 64), (2, 1, 32, 32)])
@pytest.mark.parametrize("real", [True, False])
def test_another_size_or_number_of_channels_in_one_set_is_refused_at_update(images, other, real):
    metric = feed(SlicedWassersteinDistance(**PROTOCOL), images, 12)
    with pytest.raises(ValueError, match=r"call reset\(\) before another size"):
        metric.update(torch.zeros(other, dtype=torch.uint8), real)


def test_another_type_in_one_set_is_refused_at_update(images):
    metric = SlicedWassersteinDistance(**PROTOCOL, num_images=20)
    big = torch.nn.functional.interpolate(images[0].float(), scale_factor=0.5).to(torch.uint8)  # 16 px
    metric.update(big, True)
    with pytest.raises(ValueError, match="of another type"):
        metric.update(big.float(), True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("real", [True, False])
def test_a_broken_image_gives_nan_and_a_warning_not_an_error(images, value, real):
    scaled = [pictures.float() / 127.5 - 1 for pictures in images]
    scaled[not real][3, 0, 5, 5] = value
    metric = feed(SlicedWassersteinDistance(**PROTOCOL), scaled, 4)
    with pytest.warns(UserWarning, match=f"1 {'real' if real else 'fake'} images have pixels that are NaN"):
        found = metric.compute()
    assert list(found) == [*LEVELS, *(f"{level}_se" for level in LEVELS)]
    assert all(value.isnan() for value in found.values())
    metric.reset()
    assert not feed(metric, images, 4).compute()["average"].isnan()


def test_forward_says_why_not_and_loses_nothing(images, figures):
    metric = feed(SlicedWassersteinDistance(**PROTOCOL), images, 12)
    with pytest.raises(TypeError, match="a batch of one set has no distance"):
        metric(images[0], real=True)
    assert metric.compute() == figures


def test_reals_can_be_kept(images, figures):
    metric = feed(SlicedWassersteinDistance(**PROTOCOL, reset_real_features=False), images, 12)
    metric.reset()
    assert not metric.fake_parts
    metric.update(images[1], False)
    assert metric.compute() == figures


def test_images_are_kept_where_they_are_smaller_and_the_figures_are_equal(images, figures, monkeypatch):
    small = feed(SlicedWassersteinDistance(**PROTOCOL), images, 12)
    assert small.real_parts[0].dtype == torch.uint8
    assert small.real_parts[0].data_ptr() != images[0].data_ptr()
    monkeypatch.setattr(SlicedWassersteinDistance, "_keeps_images", lambda self, images: False)
    large = feed(SlicedWassersteinDistance(**PROTOCOL), images, 5)
    assert large.real_parts[0].dtype == torch.float32
    assert large.compute() == figures


def test_copies_count_once(images):
    few = feed(SlicedWassersteinDistance(**PROTOCOL), images, 12).compute()
    copied = [torch.cat([pictures, pictures.flip(-1)]) for pictures in images]
    many = feed(SlicedWassersteinDistance(**PROTOCOL), copied, 24).compute()
    # Twice as many images that were not drawn anew leave the error where it is.
    assert many["average_se"].item() == pytest.approx(few["average_se"].item(), rel=0.3)


def test_a_set_of_empty_batches_is_empty(images):
    metric = SlicedWassersteinDistance(**PROTOCOL)
    metric.update(images[0], real=True)
    metric.update(images[1][:0], real=False)
    with pytest.raises(ValueError, match="no fake images"):
        metric.compute()


def test_it_is_drawn(images, figures):
    metric = feed(SlicedWassersteinDistance(**PROTOCOL), images, 12)
    for values in (None, figures, [figures, figures]):
        figure, axes = metric.plot(values)
        assert axes is not None
        matplotlib.pyplot.close(figure)


def test_a_tracker_finds_the_best_of_several_results(images):
    tracker = MetricTracker(MetricCollection(SlicedWassersteinDistance(**PROTOCOL)), maximize=False)
    for fakes in (images[1].flip(0) // 2, images[0]):
        tracker.increment()
        tracker.update(images[0], True)
        tracker.update(fakes, False)
    values, steps = tracker.best_metric(return_step=True)
    assert steps["average"] == 1
    assert values["average"] == pytest.approx(tracker.compute_all()["average"][1].item())


def test_a_bootstrapper_resamples_images(images):
    strapped = BootStrapper(SlicedWassersteinDistance(**PROTOCOL), num_bootstraps=3, raw=True)
    for real, pictures in zip((True, False), images, strict=True):
        strapped.update(pictures, real=real)
    averages = [metric.compute()["average"].item() for metric in strapped.metrics]
    assert len(set(averages)) == 3


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
