import numpy as np
import pytest
import torch
from scipy import signal

from swd import ms_ssim
from swd.method import msssim

# The original filters float32 images, which costs it up to 1e-5 of a scale's mean; ours is float64.
ORIGINAL_ATOL = 1e-5


def images(array):
    return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("name", ["msssim_128", "msssim_256"])
def test_scores_equal_the_original(golden, name):
    data = golden(name)
    a, b = images(data["img1"]), images(data["img2"])
    expected = torch.from_numpy(data["msssim_each"])
    torch.testing.assert_close(ms_ssim(a, b), expected, rtol=0, atol=ORIGINAL_ATOL)
    assert ms_ssim(a, b)[3] == 0  # inverted


def test_scores_of_float_images_equal_the_original(golden):
    data = golden("msssim_128")
    expected = torch.from_numpy(data["f_msssim_each"])
    scores = ms_ssim(images(data["fimg1"]), images(data["fimg2"]))
    torch.testing.assert_close(scores, expected, rtol=0, atol=ORIGINAL_ATOL)


@pytest.mark.parametrize("name", ["msssim_128", "msssim_256"])
def test_every_scale_equals_the_original(golden, name):
    data = golden(name)
    a, b = images(data["img1"]).double(), images(data["img2"]).double()
    for similarity, structure in zip(data["ssim_levels"], data["cs_levels"], strict=True):
        for result, expected in zip(msssim._similarity(a, b), (similarity, structure), strict=True):
            torch.testing.assert_close(result, torch.from_numpy(expected), rtol=0, atol=ORIGINAL_ATOL)
        a, b = msssim._halve(a), msssim._halve(b)


def test_the_first_scale_is_exact_to_float64():
    a, b = (torch.rand(1, 1, 40, 30, dtype=torch.float64) * 255 for _ in range(2))
    window = msssim._gaussian_window(11, 1.5)

    def smooth(plane):
        return signal.convolve2d(plane, np.outer(window, window), mode="valid")

    x, y = a[0, 0].numpy(), b[0, 0].numpy()
    mean_x, mean_y = smooth(x), smooth(y)
    variances = smooth(x * x) - mean_x**2 + smooth(y * y) - mean_y**2
    structure = (2 * (smooth(x * y) - mean_x * mean_y) + 7.65**2) / (variances + 7.65**2)
    luminance = (2 * mean_x * mean_y + 2.55**2) / (mean_x**2 + mean_y**2 + 2.55**2)
    similarity, contrast_structure = msssim._similarity(a, b)
    assert similarity.item() == pytest.approx((luminance * structure).mean(), rel=1e-10)
    assert contrast_structure.item() == pytest.approx(structure.mean(), rel=1e-10)


@pytest.mark.parametrize("size", [11, 8])
def test_windows_equal_the_original(golden, size):
    window = msssim._gaussian_window(size, size * 1.5 / 11)
    np.testing.assert_allclose(np.outer(window, window), golden("msssim_128")[f"gauss{size}"], rtol=1e-12)


@pytest.mark.parametrize("shape", [(64, 64), (16, 16), (33, 50)])
def test_the_gpu_code_path_gives_the_same(shape, monkeypatch):
    a = torch.rand(3, 3, *shape) * 255
    b = (a + 20 * torch.randn_like(a)).clamp(0, 255)
    expected = ms_ssim(a, b)

    def portable(images, window):
        return msssim._filter_axis(msssim._filter_axis(images, window, 2), window, 3)

    monkeypatch.setattr(msssim, "_filter", portable)
    torch.testing.assert_close(ms_ssim(a, b), expected, rtol=1e-9, atol=1e-9)


def test_a_pair_does_not_depend_on_its_batch_and_is_symmetric():
    a, b = torch.rand(2, 4, 1, 32, 32) * 255
    together = ms_ssim(a, b)
    torch.testing.assert_close(ms_ssim(a[2:3], b[2:3]), together[2:3], rtol=1e-12, atol=0)
    torch.testing.assert_close(ms_ssim(b, a), together, rtol=1e-12, atol=0)


def test_equal_images_score_one_and_stay_as_they_are():
    a = (torch.rand(2, 3, 32, 32) * 255).to(torch.uint8)
    before = a.clone()
    torch.testing.assert_close(ms_ssim(a, a), torch.ones(2, dtype=torch.float64))
    assert torch.equal(a, before)


@pytest.mark.parametrize(("a", "b"), [((1, 3, 32, 32), (1, 3, 16, 16)), ((1, 3, 15, 32), (1, 3, 15, 32))])
def test_misuse_names_the_arguments(a, b):
    with pytest.raises(ValueError, match=r"^a, b: "):
        ms_ssim(torch.zeros(a), torch.zeros(b))


@pytest.mark.gpu
def test_cuda_equals_cpu():
    a, b = torch.rand(2, 2, 3, 64, 64) * 255
    torch.testing.assert_close(ms_ssim(a.cuda(), b.cuda()).cpu(), ms_ssim(a, b), rtol=1e-9, atol=1e-12)
