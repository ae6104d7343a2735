import math

import numpy as np
import pytest
import torch

from celebahq.errors import ToolError
from swd import compare
from swd.comparison import make_cache
from swd.method.protocol import Protocol
from swd.method.randomness import FAKES, REALS, image_order, patch_centers
from swd.pipeline.resources import Resources

LEVEL_SIZES = [(32, 32), (16, 16)]


@pytest.fixture(scope="module")
def report(reals, fakes):
    return compare(reals.folder, [fakes.folder])


def figures(report):
    """Every number of a report."""
    return [(row.distance, row.corrected, row.difference) for row in report.rows]


def test_figures_equal_the_plain_restatement(reals, fakes, report, plain):
    protocol = report.protocol
    assert protocol == Protocol(images=20, resolution=32)
    chosen = {set_id: protocol.choose(count, set_id) for set_id, count in ((REALS, 24), (FAKES, 20))}

    def centers(set_id):
        indices = torch.tensor(chosen[set_id])
        return [level.numpy() for level in patch_centers(indices, LEVEL_SIZES, set_id=set_id)]

    repeats = np.split(protocol.draw_directions().numpy(), 4, axis=1)
    images = reals.images[chosen[REALS]], fakes.images[chosen[FAKES]]
    expected = plain.distances(*images, centers(REALS), centers(FAKES), repeats)
    distance = report.rows[0].distance
    found = [*(estimate.value for estimate in distance.levels.values()), distance.average.value]
    # The restatement sums in float32.
    assert found == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("form", ["zip", "h5", "npy", "npz"])
def test_every_form_of_the_images_gives_the_same_figures(reals, fakes, report, form):
    other = compare(getattr(reals, form), [getattr(fakes, form)])
    assert figures(other) == figures(report)


def test_workers_do_not_change_the_figures(reals, fakes, report):
    assert figures(compare(reals.folder, [fakes.folder], device="cpu", threads=3)) == figures(report)


def test_batches_do_not_change_the_figures(reals, fakes, report, monkeypatch):
    monkeypatch.setattr("swd.pipeline.extraction._BATCH_PIXELS", 3 * 32 * 32)
    assert figures(compare(reals.folder, [fakes.folder])) == figures(report)


def test_temporary_files_do_not_change_the_figures(reals, fakes, report, monkeypatch):
    monkeypatch.setattr("swd.pipeline.store.MEMORY_BYTES", 0)
    assert figures(compare(reals.folder, [fakes.folder])) == figures(report)


def test_too_little_room_for_temporary_files_is_said_before_the_work(reals, fakes, monkeypatch):
    monkeypatch.setattr("swd.pipeline.store.MEMORY_BYTES", 0)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(ToolError, match="TMPDIR"):
        compare(reals.folder, [fakes.folder])


def test_room_is_needed_for_the_fakes_of_a_cache(reals, fakes, tmp_path, monkeypatch):
    path = tmp_path / "reals.safetensors"
    make_cache(reals.folder, path, images=20, resources=Resources(torch.device("cpu")))
    monkeypatch.setattr("swd.pipeline.store.MEMORY_BYTES", 0)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(ToolError, match="TMPDIR"):
        compare(path, [fakes.folder])


def test_the_seed_changes_the_figures_within_their_error(reals, fakes, report):
    other = compare(reals.folder, [fakes.folder], images=20, seed=1)
    here, there = report.rows[0].distance.average, other.rows[0].distance.average
    assert here.value != there.value
    assert abs(here.value - there.value) < 4 * math.hypot(here.se, there.se)


def test_a_cache_gives_the_same_figures(reals, fakes, report, tmp_path):
    path = tmp_path / "reals.swd.safetensors"
    make_cache(reals.folder, path, images=20, resources=Resources(torch.device("cpu")))
    assert figures(compare(path, [fakes.h5])) == figures(report)


def test_several_sets_are_each_compared_as_alone(reals, fakes, report):
    both = compare(reals.folder, [fakes.folder, fakes.h5])
    assert figures(both)[0] == figures(report)[0]
    assert both.rows[1].distance == report.rows[0].distance
    assert both.rows[1].corrected == report.rows[0].corrected
    assert figures(both)[2:] == figures(report)[1:]


def test_reals_against_reals_lie_below_fakes(report):
    fresh = report.row("fresh patches").distance
    assert report.row("disjoint").distance.images == report.row("disjoint").images == 12
    assert fresh.images == 20
    for resolution, estimate in report.rows[0].distance.levels.items():
        assert fresh.levels[resolution].value < estimate.value


def test_disjoint_reals_are_as_many_as_compared_when_there_are_enough(reals, fakes):
    disjoint = compare(reals.folder, [fakes.folder], images=8).row("disjoint")
    assert disjoint.images == 8


def test_disjoint_reals_are_two_sets_of_their_own(reals, fakes, report, plain):
    # The sets are the halves of the reals' random order, patches of the first draw.
    order = image_order(24)
    parts = [order[:12].sort().values, order[12:24].sort().values]
    repeats = np.split(report.protocol.draw_directions().numpy(), 4, axis=1)
    centers = [[level.numpy() for level in patch_centers(part, LEVEL_SIZES)] for part in parts]
    expected = plain.distances(*(reals.images[part] for part in parts), *centers, repeats)
    assert report.row("disjoint").distance.average.value == pytest.approx(expected[-1], rel=2e-5)


def test_one_image_has_no_disjoint_reals_and_no_error_of_images(tmp_path, noise, save_images):
    folders = [save_images(tmp_path / str(seed), noise(1, 16, seed=seed)) for seed in (0, 1)]
    report = compare(*folders[:1], folders[1:])
    assert report.row("disjoint") is None
    assert report.rows[0].distance.average.se is None
    assert report.rows[0].corrected is None


def test_grey_images_are_compared(tmp_path, noise, save_images):
    folders = [save_images(tmp_path / str(seed), noise(4, 16, seed=seed)[:, :1]) for seed in (0, 1)]
    report = compare(folders[0], folders[1:])
    assert report.protocol.channels == 1
    assert report.protocol.descriptor_size == 49


def test_ms_ssim_is_given_for_both_sides(reals, fakes):
    report = compare(reals.folder, [fakes.folder], metrics=["msssim"])
    of_reals, of_fakes = report.row("reals").similarity, report.rows[0].similarity
    assert of_reals.pairs == 190  # every pair of 20 images
    assert 0 < of_reals.value < of_fakes.value + 0.5 < 1.5
    assert 0 < of_fakes.se < 0.1
