import numpy as np
import pytest
import torch
from scipy import ndimage

from swd import laplacian_pyramid
from swd.method.laplacian import level_resolutions, pyr_down, pyr_up

# Every file of the reference set; those not kept here are read from ../shared.
ALL = [f"swd_{size}_{kind}" for size in (16, 32, 64, 128) for kind in ("uint8", "float32")]

# float32 sums of 25 products of values up to 255: a few units in the last place.
PIXEL_ATOL = 6.2e-5

BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16


@pytest.mark.parametrize("name", ALL)
def test_pyramid_equals_the_original(golden, name):
    data = golden(name)
    atol = PIXEL_ATOL if "uint8" in name else 2.4e-7
    for key in ("a", "b"):
        images = torch.from_numpy(data[f"images_{key}"])
        pyramid = laplacian_pyramid(images, len(data["resolutions"]))
        assert [level.shape[-1] for level in pyramid] == list(data["resolutions"])
        for number, level in enumerate(pyramid):
            if f"pyr_{key}_{number}" in data:
                expected = torch.from_numpy(data[f"pyr_{key}_{number}"])
                torch.testing.assert_close(level, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("case", range(7))
def test_down_and_up_equal_the_original_at_even_odd_and_tiny_sizes(golden, case):
    data = golden("swd_ops")
    images = torch.from_numpy(data[f"x{case}"])
    for function, name in ((pyr_down, "down"), (pyr_up, "up")):
        expected = torch.from_numpy(data[f"{name}{case}"])
        torch.testing.assert_close(function(images), expected, rtol=0, atol=PIXEL_ATOL)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 1), (3, 2), (7, 5)])
def test_the_border_is_mirrored_however_small_the_image(shape):
    images = torch.rand(1, 1, *shape)
    plane = images[0, 0].numpy()
    kernel = np.outer(BINOMIAL, BINOMIAL)
    reduced = torch.from_numpy(ndimage.convolve(plane, kernel, mode="mirror")[::2, ::2].copy())
    stuffed = np.zeros((2 * shape[0], 2 * shape[1]), np.float32)
    stuffed[::2, ::2] = plane
    enlarged = torch.from_numpy(ndimage.convolve(stuffed, 4 * kernel, mode="mirror"))
    torch.testing.assert_close(pyr_down(images)[0, 0], reduced)
    torch.testing.assert_close(pyr_up(images)[0, 0], enlarged)


@pytest.mark.parametrize("shape", [(64, 64), (37, 52), (33, 17)])
def test_the_levels_add_up_to_the_image(shape):
    images = torch.rand(2, 3, *shape) * 255
    *bands, result = laplacian_pyramid(images, 4)
    for band in reversed(bands):
        result = band + pyr_up(result)[:, :, : band.shape[2], : band.shape[3]]
    torch.testing.assert_close(result, images, rtol=0, atol=PIXEL_ATOL)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("levels", [1, 3])
def test_input_is_neither_changed_nor_returned(dtype, levels):
    images = (torch.rand(1, 3, 32, 32) * 255).to(dtype)
    before = images.clone()
    for level in laplacian_pyramid(images, levels):
        level.zero_()
    assert torch.equal(images, before)


def test_an_image_does_not_depend_on_its_batch():
    images = torch.rand(5, 3, 32, 32)
    together = laplacian_pyramid(images, 2)
    alone = laplacian_pyramid(images[3:4], 2)
    assert all(torch.equal(many[3:4], one) for many, one in zip(together, alone, strict=True))


def test_strided_images_are_read_in_the_right_order():
    images = torch.rand(2, 32, 32, 3).permute(0, 3, 1, 2)
    for strided, dense in zip(
        laplacian_pyramid(images, 2), laplacian_pyramid(images.contiguous(), 2), strict=True
    ):
        assert torch.equal(strided, dense)


def test_levels_end_at_16_px():
    assert level_resolutions(1024) == [1024, 512, 256, 128, 64, 32, 16]
    assert level_resolutions(16) == [16]


@pytest.mark.parametrize(("shape", "levels"), [((3, 32, 32), 2), ((1, 3, 8, 32), 5), ((1, 3, 8, 8), 0)])
def test_misuse_names_the_argument(shape, levels):
    with pytest.raises(ValueError, match=r"^(images|levels): "):
        laplacian_pyramid(torch.zeros(shape), levels)


@pytest.mark.gpu
def test_cuda_equals_cpu():
    images = (torch.rand(2, 3, 64, 64) * 255).to(torch.uint8)
    for here, there in zip(laplacian_pyramid(images, 3), laplacian_pyramid(images.cuda(), 3), strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=0, atol=PIXEL_ATOL)
