"""The Lanczos resize equals a scalar transcription of Pillow 3.1.1's arithmetic, number by number."""

import math

import numpy as np
import pytest
from PIL import Image

from celebahq.legacy.lanczos import lanczos_weights, resize, resize_rows

f32 = np.float32


def sinc(t):
    u = f32(float(t) * math.pi)
    return f32(1) if u == 0 else f32(math.sin(float(u)) / float(u))


def lanczos(t):
    return f32(sinc(t) * sinc(f32(t / f32(3)))) if -3 <= t < 3 else f32(0)


def scalar_resize_line(line, new_size):
    """One line of bytes, by the facts: every float32 operation rounded by itself."""
    size = len(line)
    scale = f32(f32(size) / f32(new_size))
    stretch = scale if scale > 1 else f32(1)
    support = f32(f32(3) * stretch)
    squeeze = f32(1 / float(stretch))
    out = []
    for i in range(new_size):
        center = f32((i + 0.5) * float(scale))
        first = max(math.floor(f32(center - support)), 0)
        last = min(math.ceil(f32(center + support)), size)
        weights = []
        for x in range(first, last):
            argument = f32((float(f32(f32(x) - center)) + 0.5) * float(squeeze))
            weights.append(f32(lanczos(argument) * squeeze))
        total = f32(0)
        for weight in weights:
            total = f32(total + weight)
        value = f32(0.5)
        for pixel, weight in zip(line[first:last], weights, strict=True):
            value = f32(value + f32(f32(pixel) * f32(weight / total)))
        out.append(min(max(int(value), 0), 255))
    return out


@pytest.mark.parametrize(("size", "new_size"), [(40, 10), (37, 296), (50, 17), (9, 144), (101, 100), (3, 48)])
def test_a_line_equals_the_scalar_arithmetic(size, new_size):
    line = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    line[: size // 3] = 255  # edges of full contrast, where the result is clipped
    line[-(size // 4) :] = 0
    image = np.repeat(line[:, None, None], 2, axis=1)
    resized = resize_rows(image, new_size)
    assert resized[:, 0, 0].tolist() == scalar_resize_line(line.tolist(), new_size)
    np.testing.assert_array_equal(resized[:, 1], resized[:, 0])


def test_the_horizontal_pass_comes_first_and_is_rounded():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    resized = resize(image, 13, 50)
    turned = np.ascontiguousarray(image.transpose(1, 0, 2))
    narrow = np.ascontiguousarray(resize_rows(turned, 13).transpose(1, 0, 2))
    np.testing.assert_array_equal(resized, resize_rows(narrow, 50))
    vertical_first = resize_rows(resize_rows(image, 50).transpose(1, 0, 2).copy(), 13).transpose(1, 0, 2)
    assert (resized != vertical_first).any()


def test_columns_do_not_depend_on_how_many_are_resized_together(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    whole = resize_rows(image, 7)
    monkeypatch.setattr("celebahq.legacy.lanczos.STRIP", 10)
    np.testing.assert_array_equal(resize_rows(image, 7), whole)


def test_an_unchanged_size_is_a_copy():
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    copy = resize(image, 6, 5)
    np.testing.assert_array_equal(copy, image)
    assert not np.shares_memory(copy, image)


def test_one_changed_side_runs_both_passes():
    """The pass along the unchanged side has weights 1 and 0, up to float32 rounding of sines."""
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        resize(image, 12, 24), resize_rows(image.transpose(1, 0, 2).copy(), 12).transpose(1, 0, 2)
    )


def test_weights_sum_to_one_and_stay_inside():
    starts, weights = lanczos_weights(100, 33)
    assert min(starts) == 0
    assert max(start + len(taps) for start, taps in zip(starts, weights, strict=True)) == 100
    for taps in weights:
        assert taps.dtype == np.float32
        assert float(taps.astype(np.float64).sum()) == pytest.approx(
            1, abs=1e-6
        )  # float32 rounding of ~20 terms


def test_todays_pillow_is_near_but_not_equal():
    """The reason for this module: one grey level in some bytes, in whichever order Pillow runs its passes."""
    image = np.random.default_rng(1).integers(0, 256, (300, 260, 3), dtype=np.uint8)
    narrow = Image.fromarray(image).resize((130, 300), Image.Resampling.LANCZOS)
    theirs = np.asarray(narrow.resize((130, 150), Image.Resampling.LANCZOS)).astype(int)
    difference = np.abs(theirs - resize(image, 130, 150))
    assert difference.max() == 1
    assert 0 < (difference > 0).mean() < 1e-3
