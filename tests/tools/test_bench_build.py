"""The benchmark of builds measures what it says."""

import bench_build
import pytest

from celebahq.align.crop import plan_crop
from celebahq.pictures.decoding import load_photo


@pytest.mark.parametrize("crop_px", [200, 600])
def test_the_crop_is_as_wide_as_asked_for(tmp_path, crop_px):
    faces = bench_build.save_photo(tmp_path, crop_px)
    photo = load_photo(faces[0].path)
    assert plan_crop(*photo.shape[:2], faces[0].landmarks).side == pytest.approx(crop_px, abs=1)


def test_an_image_goes_through_the_networks_asked_for(tmp_path):
    faces = bench_build.save_photo(tmp_path, 200)
    bare = bench_build.task(faces, {"jpeg_model": "none", "sr_model": "none"}).process(0)
    assert (bare.meta["jpeg_removal"], bare.meta["super_resolution"]) == ("none", "none")
    full = bench_build.task(faces, {}).process(0)
    assert (full.meta["jpeg_removal"], full.meta["super_resolution"]) == ("jpeg", "sr4x")
