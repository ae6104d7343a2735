import re

import numpy as np
import pytest
import torch

from celebahq.errors import ToolError
from swd import compare
from swd.comparison import make_cache
from swd.pipeline.resources import Resources
from swd.pipeline.sources import open_images
from swd.protocol_choice import choose_protocol


@pytest.fixture
def array(tmp_path):
    """`array(name, n, size, channels)`: path of a set of random images."""

    def write(name, count, size, channels=3):
        path = tmp_path / f"{name}.npy"
        np.save(path, np.random.default_rng(0).integers(0, 256, (count, channels, size, size), np.uint8))
        return path

    return write


def test_as_many_images_as_the_smaller_set_has(array):
    protocol, remarks = choose_protocol(open_images(array("a", 7, 32)), [open_images(array("b", 5, 32))])
    assert (protocol.images, protocol.resolution, protocol.channels) == (5, 32, 3)
    assert len(remarks) == 1
    assert re.search("5 images of each set are used, all that .*b.npy has .*a.npy has 7", remarks[0])


def test_one_of_several_sets_with_far_fewer_images_is_refused_unless_told(array):
    real, *fakes = (
        open_images(array(name, count, 32))
        for name, count in (
            (
                "r",
                12,
            ),
            ("a", 12),
            ("b", 5),
        )
    )
    with pytest.raises(ToolError, match=r"b\.npy: 5 images, but .*a\.npy has 12.*--images 5"):
        choose_protocol(real, fakes)
    assert choose_protocol(real, fakes, images=5)[0].images == 5
    assert choose_protocol(real, fakes[1:])[0].images == 5


def test_at_most_16384_images(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((16_500, 16, 16), np.uint8))
    images = open_images(tmp_path / "a.npy")
    assert choose_protocol(images, [images])[0].images == 16_384


@pytest.mark.parametrize(
    ("reals", "fakes", "options", "message"),
    [
        ((5, 32), (5, 64), {}, "a.npy: 32 px, .*b.npy: 64 px.*--resolution 32"),
        ((5, 32, 1), (5, 32, 3), {}, "a.npy: grey, .*b.npy: colour"),
        ((5, 40), (5, 40), {}, "40 px: the pyramid needs a power of two.*--resolution 32"),
        ((5, 32), (4, 32), {"images": 5}, "b.npy: 4 images, but --images asks for 5"),
        ((5, 32), (5, 32), {"resolution": 64}, "a.npy: 5 images of 32 px, but --resolution asks for 64"),
        ((5, 32), (5, 8), {}, "b.npy: images of 8 px; the metric needs at least 16 px"),
    ],
)
def test_sets_that_cannot_be_compared(array, reals, fakes, options, message):
    sets = open_images(array("a", *reals)), open_images(array("b", *fakes))
    with pytest.raises(ToolError, match=message):
        choose_protocol(sets[0], sets[1:], **options)


def test_reductions_are_said(array):
    sets = open_images(array("a", 4, 64)), open_images(array("b", 4, 40))
    _, remarks = choose_protocol(sets[0], sets[1:], resolution=32)
    assert [re.sub(r".*/", "", remark) for remark in remarks] == [
        "a.npy: 4 images from 64 to 32 px by a box filter",
        "b.npy: 4 images from 40 to 32 px by Lanczos",
    ]


def test_mixed_folders_are_refused_with_counts(tmp_path, noise, save_images):
    save_images(tmp_path / "sizes", noise(4, 32, seed=0))
    save_images(tmp_path / "sizes" / "more", noise(2, 64, seed=0))
    with pytest.raises(ToolError, match=r"different sizes \(4 of 32 px, 2 of 64 px\)"):
        choose_protocol(open_images(tmp_path / "sizes"))
    save_images(tmp_path / "colours", noise(4, 32, seed=0))
    save_images(tmp_path / "colours" / "more", noise(2, 32, seed=0)[:, :1])
    with pytest.raises(ToolError, match="2 grey images among 4 in colour"):
        choose_protocol(open_images(tmp_path / "colours"))
    save_images(tmp_path / "oblong", noise(2, 32, seed=0)[:, :, :16])
    with pytest.raises(ToolError, match="2 of the images are 32x16 px"):
        choose_protocol(open_images(tmp_path / "oblong"))


def test_mixed_sizes_are_compared_at_one_resolution(tmp_path, noise, save_images):
    save_images(tmp_path, noise(2, 32, seed=0))
    save_images(tmp_path / "more", noise(2, 64, seed=0))
    protocol, remarks = choose_protocol(open_images(tmp_path), resolution=32)
    assert protocol.resolution == 32
    assert len(remarks) == 1


def test_jpeg_against_png_is_warned_of(tmp_path, noise, save_images):
    save_images(tmp_path / "png", noise(2, 32, seed=0))
    for path in save_images(tmp_path / "jpeg", noise(2, 32, seed=0)).rglob("*.png"):
        path.rename(path.with_suffix(".jpg"))
    sets = open_images(tmp_path / "png"), open_images(tmp_path / "jpeg")
    assert "traces of compression" in choose_protocol(sets[0], sets[1:])[1][0]
    assert choose_protocol(sets[0], sets[:1])[1] == []


@pytest.fixture
def cache(array, tmp_path):
    path = tmp_path / "a.swd.safetensors"
    make_cache(array("a", 5, 16), path, resources=Resources(torch.device("cpu")))
    return path


@pytest.mark.parametrize(
    ("fakes", "options", "message"),
    [
        ((5, 16), {"images": 4}, "made with --images 5, not 4"),
        ((5, 16), {"seed": 1}, "made with --seed 0, not 1"),
        ((5, 16), {"resolution": 32}, "made with --resolution 16, not 32"),
        ((4, 16), {}, "4 images, but the cache of .*a.npy holds 5; make one with --images 4"),
        ((5, 16, 1), {}, "a.npy: colour, .*b.npy: grey"),
        ((5, 16), {"metrics": ["fid"]}, "torch-fidelity"),
    ],
)
def test_a_cache_holds_for_its_own_protocol(cache, array, fakes, options, message):
    with pytest.raises(ToolError, match=message):
        compare(cache, [array("b", *fakes)], **options)


def test_fakes_larger_than_a_caches_images_are_reduced(cache, array):
    assert compare(cache, [array("b", 5, 32)]).protocol.resolution == 16
