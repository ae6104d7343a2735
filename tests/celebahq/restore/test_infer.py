from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from celebahq.errors import FormatError, ToolError
from celebahq.files import sha256_file
from celebahq.restore import infer
from celebahq.restore.checkpoints import load_network, save_network
from celebahq.restore.degrade import Photo, jpeg
from celebahq.restore.infer import (
    NAMES,
    WEIGHTS,
    Restorer,
    is_faster_in_bfloat16,
    load_restorer,
    spans,
)
from celebahq.restore.networks import Network, SrResNet

CPU = torch.device("cpu")


def restorer(network: Network, tile_px: int = 4096, dtype: torch.dtype = torch.float32) -> Restorer:
    return Restorer(network, "test", "", CPU, tile_px=tile_px, dtype=dtype)


def exact(network: Network, tile_px: int = 4096) -> Restorer:
    """In float64 rounding reaches no grey level, whatever kernels a processor has: what differs is wrong."""
    return restorer(network, tile_px, torch.float64)


@pytest.mark.parametrize("name", ["deblocker", "enlarger"])
@pytest.mark.parametrize("tile_px", [32, 56])
def test_tiles_give_what_one_pass_gives(name: str, tile_px: int, photo: Photo, request):
    network = request.getfixturevalue(name)
    np.testing.assert_array_equal(exact(network, tile_px)(photo), exact(network)(photo))


# Kernels for images of another size may add up in another order: then the last bits of sums differ, and a
# grey level where a sum lies between two. float32 keeps 24 bits (2e-5 of the values were seen to differ),
# bfloat16 8.
@pytest.mark.parametrize("name", ["deblocker", "enlarger"])
@pytest.mark.parametrize(
    ("dtype", "most", "share"), [(torch.float32, 1, 1e-4), (torch.bfloat16, 2, 0.01)], ids=["fp32", "bf16"]
)
def test_tiles_differ_by_rounding_at_most(
    name: str, dtype: torch.dtype, most: int, share: float, photo: Photo, request
):
    network = request.getfixturevalue(name)
    whole = restorer(network, dtype=dtype)(photo).astype(int)
    off = np.abs(restorer(network, 56, dtype)(photo).astype(int) - whole)
    assert off.max() <= most
    assert (off > 0).mean() < share


@pytest.mark.parametrize("name", ["deblocker", "enlarger"])
def test_tiles_at_once_change_nothing(name: str, photo: Photo, request, monkeypatch: pytest.MonkeyPatch):
    network = request.getfixturevalue(name)
    one = exact(network, 32)(photo)
    monkeypatch.setitem(infer.TILES_AT_ONCE, "cpu", 3)
    np.testing.assert_array_equal(exact(network, 32)(photo), one)


@pytest.mark.parametrize("name", ["deblocker", "enlarger"])
def test_a_box_gives_that_part_of_the_whole(name: str, photo: Photo, request):
    network = request.getfixturevalue(name)
    s = network.scale
    whole = exact(network)(photo)
    for top, left, bottom, right in ((13, 21, 90, 140), (0, 0, 1, 1), (295, 200, 301, 237)):
        part = exact(network, 32)(photo, (top, left, bottom, right))
        np.testing.assert_array_equal(part, whole[s * top : s * bottom, s * left : s * right])


@pytest.mark.parametrize("name", NAMES)
def test_the_near_surround_is_enough_for_a_box(name: str, photo: Photo):
    network, blocky = load_network(WEIGHTS / f"{name}.safetensors"), jpeg(photo, 15)
    exactly, nearly = (
        Restorer(network, name, "", CPU, dtype=torch.float32, exact=exact) for exact in (True, False)
    )
    assert nearly.halo <= exactly.halo
    box = (130, 100, 178, 148)
    off = np.abs(exactly(blocky, box).astype(int) - nearly(blocky, box))
    assert off.max() <= 1
    assert (off > 0).mean() < 1e-3  # up to one in 10,000 where the surround was chosen


@pytest.mark.parametrize("name", ["deblocker", "enlarger"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 50), (64, 33)])
def test_any_size_passes(name: str, size: tuple[int, int], photo: Photo, request):
    network = request.getfixturevalue(name)
    result = restorer(network)(photo[: size[0], : size[1]])
    assert result.shape == (network.scale * size[0], network.scale * size[1], 3)
    assert result.dtype == np.uint8


def test_grey_is_the_mean_of_three_equal_channels(deblocker: Network, photo: Photo):
    grey = photo[..., 0]
    colour = restorer(deblocker)(np.repeat(grey[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(restorer(deblocker)(grey), colour.mean(axis=2).round())


def test_wrong_arrays_and_boxes_are_refused(deblocker: Network, photo: Photo):
    run = restorer(deblocker)
    for wrong in (photo.astype(np.float32), photo[..., :2], photo[None]):
        with pytest.raises(ValueError, match=r"^photo: "):
            run(wrong)
    for box in ((0, 0, 302, 10), (5, 5, 5, 9), (-1, 0, 4, 4)):
        with pytest.raises(ValueError, match=r"^box: "):
            run(photo, box)


def test_spans_are_few_and_nearly_equal():
    assert spans(0, 10, 4) == [(0, 4), (4, 8), (8, 10)]
    assert spans(3, 11, 4) == [(3, 7), (7, 11)]
    assert spans(0, 3, 4) == [(0, 3)]


def test_weights_survive_the_file_to_half_precision(tmp_path: Path, enlarger: Network):
    path = tmp_path / "a.safetensors"
    save_network(path, enlarger, {"step": 3})
    again = load_network(path)
    assert isinstance(again, SrResNet)
    for mine, other in zip(again.parameters(), enlarger.parameters(), strict=True):
        torch.testing.assert_close(mine, other.half().float(), rtol=0, atol=0)


@pytest.mark.parametrize("config", [None, "no JSON", "[]", '{"unknown": 1}', '{"blocks": "many"}'])
def test_metadata_that_name_no_network_are_described(tmp_path: Path, config: str | None):
    path = tmp_path / "x.safetensors"
    metadata = {"format": "celebahq-restorer-1", "architecture": "SrResNet"}
    save_file({"a": torch.zeros(1)}, path, metadata | ({} if config is None else {"config": config}))
    with pytest.raises(FormatError, match=r"x\.safetensors: its weights do not fit"):
        load_network(path)


def test_loading_draws_no_random_numbers(tmp_path: Path, enlarger: Network):
    save_network(tmp_path / "a.safetensors", enlarger, {})
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    load_network(tmp_path / "a.safetensors")
    assert torch.rand(1) == expected


def test_files_that_hold_no_such_weights_are_named(tmp_path: Path, enlarger: Network):
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"not a safetensors file")
    with pytest.raises(FormatError, match=r"garbage\.safetensors"):
        load_restorer(garbage)
    cut = tmp_path / "cut.safetensors"
    save_network(cut, enlarger, {})
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(FormatError, match=r"cut\.safetensors"):
        load_restorer(cut)
    with pytest.raises(ToolError, match="no such weight file"):
        load_restorer(tmp_path / "missing.safetensors")


def test_a_shipped_name_without_weights_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(infer, "WEIGHTS", tmp_path)
    with pytest.raises(ToolError, match="sr4x: no weights of that network come with this version"):
        load_restorer("sr4x")


def test_the_former_name_gives_the_same_network():
    former, today = load_restorer("sr4x-psnr"), load_restorer("sr4x")
    assert (former.name, former.sha256) == (today.name, today.sha256)


@pytest.mark.parametrize("name", NAMES)
def test_every_card_states_the_checksum_of_its_weights(name: str):
    path = WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size <= 8_000_000
    assert sha256_file(path) in (WEIGHTS / f"{name}.md").read_text()
    assert load_restorer(name).sha256 == sha256_file(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_network_gives_the_same_twice(name: str, photo: Photo):
    run = load_restorer(name)
    np.testing.assert_array_equal(run(photo[:96, :80]), run(photo[:96, :80]))


def psnr(a: Photo, b: Photo) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2)))


def test_the_deblocker_improves_jpeg_on_and_off_its_grid_and_spares_clean_pictures(shared: Path):
    from PIL import Image

    path = shared / "data/restoration/benchmark/LIVE1/parrots.png"
    clean = np.asarray(Image.open(path).convert("RGB"))[100:356, 100:356]
    run = load_restorer("jpeg")
    blocky = jpeg(clean, 10)
    assert psnr(run(blocky), clean) > psnr(blocky, clean) + 0.8
    cropped = blocky[3:, 5:]
    assert psnr(run(cropped), clean[3:, 5:]) > psnr(cropped, clean[3:, 5:]) + 0.7
    # One picture, so the bound is looser than the benchmark's mean over LIVE1.
    assert psnr(run(clean), clean) > 45


@pytest.mark.slow
def test_memory_is_bounded_whatever_the_photo(deblocker: Network):
    import resource

    # A twelfth of CelebA's largest photo: the peak must grow by the photo and its result, not more.
    run = restorer(deblocker, 256)
    rng = np.random.default_rng(0)
    run(rng.integers(0, 256, (512, 512, 3), dtype=np.uint8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    large = rng.integers(0, 256, (1960, 2550, 3), dtype=np.uint8)
    run(large)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert kilobytes * 1024 < 2 * large.nbytes + 100e6


@pytest.mark.parametrize(
    ("vendor", "flags", "faster"),
    [
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("GenuineIntel", "avx512f avx512_bf16", False),
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx2", False),
    ],
)
def test_bfloat16_is_chosen_where_it_is_faster(vendor: str, flags: str, faster: bool):
    cpuinfo = f"processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: a CPU\nflags\t\t: fpu {flags}\n"
    assert is_faster_in_bfloat16(cpuinfo) is faster


def test_strength_is_the_share_of_the_change_that_is_made(photo: Photo, tmp_path: Path, deblocker: Network):
    path = tmp_path / "own.safetensors"
    save_network(path, deblocker, {})
    none, half, whole = (load_restorer(path, strength=share) for share in (0, 0.5, 1))
    np.testing.assert_array_equal(none(photo), photo)
    between = (photo.astype(float) + whole(photo)) / 2
    unclipped = (whole(photo) > 0) & (whole(photo) < 255)
    assert np.abs(half(photo) - between)[unclipped].max() <= 1  # both were rounded
    assert len({none.sha256, half.sha256, whole.sha256}) == 3
    assert half.name == f"{path}(strength=0.5)"


@pytest.mark.parametrize("name", ["deblocker", "enlarger"])
def test_grey_photos_come_back_grey(name: str, photo: Photo, request):
    restore = restorer(request.getfixturevalue(name))
    grey = np.ascontiguousarray(photo[:40, :48, 0])
    found = restore(np.repeat(grey[..., None], 3, axis=2), (8, 8, 24, 40))
    assert not np.ptp(found, axis=2).any()
    np.testing.assert_array_equal(found[..., 0], restore(grey, (8, 8, 24, 40)))
    assert np.ptp(restore(photo[:40, :48]), axis=2).any()


def test_tiles_are_no_smaller_than_the_network_needs(photo: Photo, deblocker: Network):
    np.testing.assert_array_equal(exact(deblocker, tile_px=1)(photo), exact(deblocker)(photo))


def test_what_is_no_array_is_refused(photo: Photo, deblocker: Network):
    with pytest.raises(TypeError, match="photo: an array is expected, not Image; load_photo gives one"):
        restorer(deblocker)(Image.fromarray(photo))


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_a_strength_outside_its_range_is_refused(strength: float):
    with pytest.raises(ValueError, match="strength"):
        load_restorer("jpeg", strength=strength)


def test_an_enlarging_network_has_no_strength():
    with pytest.raises(ToolError, match="sr4x: it enlarges"):
        load_restorer("sr4x", strength=0.5)


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_restores_as_the_cpu_does(name: str, photo: Photo):
    expected = load_restorer(name)(photo).astype(int)
    found = load_restorer(name, "cuda")(photo).astype(int)
    # Half precision on the GPU, 10 bits of mantissa or 7: a grey level or two, rarely more.
    assert np.abs(found - expected).mean() < 0.5
    assert np.abs(found - expected).max() <= 8
