import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from celebahq.restore import degrade
from celebahq.restore.degrade import Photo, bicubic_reduce, jpeg, jpeg_pair


@pytest.fixture(scope="module")
def textured() -> Photo:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (260, 260, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.5) * 2.0 - 127).clip(0, 255).astype(np.uint8)


def column_steps(image: Photo) -> NDArray[np.float64]:
    """Mean step of the brightness between each column and the next."""
    return np.asarray(np.abs(np.diff(image.astype(np.float64).mean(axis=2), axis=1)).mean(axis=0))


def best_phase(image: Photo) -> int:
    """The column phase of the 8 px grid with the strongest steps."""
    steps = column_steps(image)
    return int(np.argmax([steps[phase::8].mean() for phase in range(8)]))


def block_px(image: Photo) -> int:
    """The period, of some, at which the columns' steps stand out."""
    steps = column_steps(image)
    steps -= steps.mean()

    def contrast(period: int) -> float:
        return max(steps[phase::period].mean() for phase in range(period)) / period**0.5

    return max((6, 8, 12, 16, 24), key=contrast)


def test_pairs_are_a_function_of_the_generator(textured: Photo):
    first = jpeg_pair(textured, 96, np.random.default_rng(5))
    again = jpeg_pair(textured, 96, np.random.default_rng(5))
    for mine, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(mine, other)
        assert mine.shape == (96, 96, 3)
        assert mine.dtype == np.uint8


def test_degraded_and_clean_patch_lie_on_each_other(textured: Photo):
    for seed in range(40):
        degraded, clean = (
            image.astype(np.float64) for image in jpeg_pair(textured, 64, np.random.default_rng(seed))
        )
        here = np.square(degraded - clean).mean()
        for dy, dx in ((0, 1), (1, 0), (1, 1)):
            moved = np.square(degraded[dy:, dx:] - clean[: 64 - dy, : 64 - dx]).mean()
            assert here < moved


def test_about_a_tenth_of_the_pairs_is_clean(textured: Photo):
    clean = sum(np.array_equal(*jpeg_pair(textured, 32, np.random.default_rng(seed))) for seed in range(600))
    assert 0.06 < clean / 600 < 0.15  # 0.10 and quality 100 of grey patches; four standard deviations


def test_blocks_lie_anywhere(textured: Photo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(degrade, "draw_quality", lambda rng: 5)
    monkeypatch.setattr(degrade, "CLEAN_SHARE", 0.0)
    monkeypatch.setattr(degrade, "RESCALED_SHARE", 0.0)
    phases = [best_phase(jpeg_pair(textured, 96, np.random.default_rng(seed))[0]) for seed in range(60)]
    assert set(phases) == set(range(8))


@pytest.mark.parametrize("scale", [0.75, 1.5, 2.0, 3.0])
def test_blocks_are_resized_with_the_picture_and_saved_again(
    scale: float, textured: Photo, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(degrade, "draw_quality", lambda rng: 5)
    monkeypatch.setattr(degrade, "draw_scale", lambda rng: scale)
    monkeypatch.setattr(degrade, "SAVED_AGAIN", {True: (0.0, 0.5, 0.5)})
    monkeypatch.setattr(degrade, "SECOND_LOWEST", 95)  # or its own blocks would hide those
    monkeypatch.setattr(degrade, "CLEAN_SHARE", 0.0)
    monkeypatch.setattr(degrade, "RESCALED_SHARE", 1.0)
    flat = np.asarray(cv2.GaussianBlur(textured, (0, 0), 4))
    found = [block_px(jpeg_pair(flat, 96, np.random.default_rng(seed))[0]) for seed in range(30)]
    assert max(set(found), key=found.count) == round(8 * scale)


def test_scales_cover_their_range_evenly_in_the_logarithm():
    rng = np.random.default_rng(0)
    scales = np.array([degrade.draw_scale(rng) for _ in range(4000)])
    assert 0.5 <= scales.min() < 0.51
    assert 2.97 < scales.max() <= 3.0
    assert np.log(scales).mean() == pytest.approx(np.log(1.5) / 2, abs=0.04)  # five standard errors


def test_later_generations_are_of_good_quality(textured: Photo, monkeypatch: pytest.MonkeyPatch):
    qualities: list[int] = []
    monkeypatch.setattr(
        degrade, "compress", lambda image, quality, rng: (qualities.append(quality), image)[1]
    )
    generations = []
    for seed in range(300):
        jpeg_pair(textured, 32, np.random.default_rng(seed))
        generations.append(len(qualities))
        assert all(70 <= quality <= 98 for quality in qualities[1:])
        qualities.clear()
    assert set(generations) == {0, 1, 2, 3}


def test_a_clean_picture_is_clean_at_any_size(textured: Photo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(degrade, "CLEAN_SHARE", 1.0)
    monkeypatch.setattr(degrade, "RESCALED_SHARE", 1.0)
    for seed in range(20):
        np.testing.assert_array_equal(*jpeg_pair(textured, 64, np.random.default_rng(seed)))


def test_sharpening_makes_edges_steeper_and_leaves_flat_ground():
    edge = np.full((16, 32, 3), 100, np.uint8)
    edge[:, 16:] = 150
    sharp = degrade.sharpen(edge, 0.8, 1.0).astype(int)
    assert sharp[8, 16, 0] - sharp[8, 15, 0] > 50
    np.testing.assert_array_equal(sharp[:, [0, 31]], edge[:, [0, 31]])


def test_quality_covers_its_range():
    rng = np.random.default_rng(0)
    qualities = [degrade.draw_quality(rng) for _ in range(4000)]
    assert (min(qualities), max(qualities)) == (5, 100)
    assert 40 < np.mean(qualities) < 55


def test_jpeg_equals_pillow_and_halves_chroma_on_request(textured: Photo, tmp_path):
    for chroma_420, subsampling in ((True, 2), (False, 0)):
        path = tmp_path / "a.jpg"
        Image.fromarray(textured).save(path, quality=60, subsampling=subsampling)
        expected = np.asarray(Image.open(path)).astype(int)
        # Both use libjpeg-turbo; the last bit of the colour conversion may differ between builds.
        assert np.abs(jpeg(textured, 60, chroma_420=chroma_420).astype(int) - expected).mean() < 0.2


def test_the_reduction_is_the_benchmarks(shared):
    folder = shared / "data/restoration/benchmark/Set5"
    for path in sorted(folder.glob("*_HR*")):
        small = np.asarray(Image.open(str(path).replace("_HR", "_LR")).convert("RGB"))
        large = np.asarray(Image.open(path).convert("RGB"))[: 4 * len(small), : 4 * small.shape[1]]
        off = np.abs(bicubic_reduce(large, 4).astype(int) - small)[4:-4, 4:-4]
        assert off.max() <= 2  # Matlab keeps fractions between its two passes, Pillow rounds
        assert off.mean() < 0.25
