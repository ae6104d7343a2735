import numpy as np
import pytest
import torch

from swd import gather_patches, normalize_descriptors
from swd.method.descriptors import describe

ALL = [f"swd_{size}_{kind}" for size in (16, 32, 64, 128) for kind in ("uint8", "float32")]


def levels_of(data):
    return [(key, level) for key in ("a", "b") for level in range(len(data["resolutions"]))]


@pytest.mark.parametrize("name", ALL)
def test_patches_equal_the_original(golden, name):
    data = golden(name)
    for key, level in levels_of(data):
        if f"pyr_{key}_{level}" not in data:
            continue
        pyramid = torch.from_numpy(data[f"pyr_{key}_{level}"])
        centers = np.stack([data[f"coord_y_{key}_{level}"], data[f"coord_x_{key}_{level}"]], axis=-1)
        centers = torch.from_numpy(centers).reshape(len(pyramid), -1, 2)
        expected = torch.from_numpy(data[f"desc_{key}_{level}"]).transpose(2, 3)  # stored as (x, y)
        assert torch.equal(gather_patches(pyramid, centers), expected)


@pytest.mark.parametrize("name", ALL)
def test_normalisation_equals_the_original(golden, name):
    data = golden(name)
    for key, level in levels_of(data):
        desc = torch.from_numpy(data[f"desc_{key}_{level}"])
        # The original's float32 mean and standard deviation are off by some 1e-6 of a standard deviation.
        expected = torch.from_numpy(data[f"fin_{key}_{level}"])
        torch.testing.assert_close(normalize_descriptors(desc), expected, rtol=2e-6, atol=2e-6)


def test_statistics_are_those_of_float64():
    desc = torch.rand(40_000, 3, 7, 7) * torch.tensor([1.0, 255.0, 1e-3])[:, None, None] + 1000
    exact = desc.double()
    mean = exact.mean((0, 2, 3), keepdim=True)
    std = exact.std((0, 2, 3), correction=0, keepdim=True)
    # float32 rounding of values near 1000 (6e-5), in standard deviations of each channel.
    tolerance = 1.3e-4 / std
    difference = normalize_descriptors(desc).view_as(desc) - (exact - mean) / std
    assert (difference.abs() <= tolerance).all()


@pytest.mark.parametrize("value", [0.0, 255.0, 0.1])
def test_a_constant_channel_becomes_zeros(value):
    desc = torch.rand(100, 3, 7, 7)
    desc[:, 1] = value
    result = normalize_descriptors(desc).view_as(desc)
    assert (result[:, 1] == 0).all()
    torch.testing.assert_close(result[:, ::2].std((0, 2, 3), correction=0), torch.ones(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_threads_do_not_change_normalisation(dtype):
    desc = torch.rand(20_000, 3, 7, 7, dtype=dtype)
    torch.set_num_threads(1)
    alone = normalize_descriptors(desc)
    torch.set_num_threads(3)
    assert torch.equal(normalize_descriptors(desc), alone)


def test_inference_mode_and_gradients_do_not_matter():
    torch.set_num_threads(2)
    desc = torch.rand(9, 3, 7, 7)
    expected = normalize_descriptors(desc)
    with torch.inference_mode():
        assert torch.equal(normalize_descriptors(desc.clone()), expected)
    assert torch.equal(normalize_descriptors(desc.requires_grad_()), expected)


def test_normalisation_leaves_its_input_alone():
    desc = torch.rand(10, 3, 7, 7)
    before = desc.clone()
    normalize_descriptors(desc)
    assert torch.equal(desc, before)


def test_normalisation_can_overwrite_its_input():
    desc = torch.rand(3000, 3, 7, 7)
    expected = normalize_descriptors(desc)
    result = normalize_descriptors(desc, out=desc)
    assert result.data_ptr() == desc.data_ptr()
    assert torch.equal(result, expected)


def test_patches_lie_where_the_centers_say():
    level = torch.arange(2 * 20 * 30.0).reshape(1, 2, 20, 30)
    patch = gather_patches(level, torch.tensor([[[5, 10]]]))[0]
    assert torch.equal(patch, level[0, :, 2:9, 7:14])


@pytest.mark.parametrize(
    "view", [lambda x: x[1:, :, 2:], lambda x: x.permute(0, 1, 3, 2), lambda x: x[:, 1:2]]
)
def test_patches_of_a_view_equal_those_of_a_copy(view):
    level = view(torch.rand(3, 3, 20, 20))
    height, width = level.shape[2:]
    centers = torch.tensor([[3, 3], [height - 4, width - 4], [5, 9]]).expand(len(level), 3, 2)
    expected = torch.stack(
        [image[:, y - 3 : y + 4, x - 3 : x + 4] for image in level for y, x in centers[0].tolist()]
    )
    assert torch.equal(gather_patches(level, centers), expected)


def test_no_images_give_no_patches():
    patches = gather_patches(torch.zeros(0, 3, 16, 16), torch.zeros(0, 4, 2, dtype=torch.int64))
    assert patches.shape == (0, 3, 7, 7)


@pytest.mark.parametrize("center", [(2, 8), (8, 2), (13, 8), (8, 13)])
def test_a_patch_that_leaves_the_level_is_refused(center):
    with pytest.raises(ValueError, match="leaves the level of 16x16"):
        gather_patches(torch.zeros(1, 3, 16, 16), torch.tensor([[center]]))


@pytest.mark.parametrize(
    ("level", "centers"),
    [((3, 16, 16), (1, 4, 2)), ((2, 3, 16, 16), (1, 4, 2)), ((1, 3, 16, 16), (1, 4, 3))],
)
def test_shapes_that_do_not_fit_are_refused(level, centers):
    with pytest.raises(ValueError, match=r"^(level|centers): expected"):
        gather_patches(torch.zeros(level), torch.full(centers, 8))


def test_no_descriptors_cannot_be_normalised():
    with pytest.raises(ValueError, match="M > 0"):
        normalize_descriptors(torch.zeros(0, 3, 7, 7))


def test_descriptors_do_not_depend_on_the_batch():
    images = (torch.rand(6, 3, 32, 32) * 255).to(torch.uint8)
    indices = torch.tensor([4, 0, 9, 2, 30, 1])
    together = describe(images, indices, set_id=0, patches=8, draws=(0, 1))
    split = [
        describe(images[i : i + 2], indices[i : i + 2], set_id=0, patches=8, draws=(0, 1)) for i in (0, 2, 4)
    ]
    for draw in (0, 1):
        for level in range(2):
            assert torch.equal(together[draw][level], torch.cat([part[draw][level] for part in split]))
    assert not torch.equal(together[0][0], together[1][0])


@pytest.mark.gpu
def test_cuda_equals_cpu():
    images = (torch.rand(4, 3, 32, 32) * 255).to(torch.uint8)
    here = describe(images, torch.arange(4), set_id=1)[0]
    there = describe(images.cuda(), torch.arange(4).cuda(), set_id=1)[0]
    for level in range(2):
        torch.testing.assert_close(there[level].cpu(), here[level], rtol=0, atol=6.2e-5)
        torch.testing.assert_close(
            normalize_descriptors(there[level]).cpu(), normalize_descriptors(here[level]), rtol=0, atol=1e-5
        )
