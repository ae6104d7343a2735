"""Pillow 3.1.1's Lanczos resize, in its own float32 arithmetic and order of additions.

Later versions of Pillow weigh in fixed point, and may run the vertical pass first: up to 5 bytes in
10,000 then differ by one. Nothing here uses Pillow.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

LOBES = 3
STRIP = 8192
"""Columns resized at a time: the rows that one output row needs then fit a processor's second-level cache."""

f32 = np.float32


def resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize `[H, W, 3]` uint8 to `[height, width, 3]`: horizontally, round to uint8, then vertically."""
    if (height, width) == image.shape[:2]:
        return image.copy()
    narrow = cv2.transpose(resize_rows(cv2.transpose(image), width))
    return resize_rows(np.ascontiguousarray(narrow), height)


def resize_rows(image: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """One pass along the first axis: `[H, W, 3]` uint8 to `[count, W, 3]`.

    A pixel is 0.5 plus its weighted taps, added one after the other in float32 and truncated. Products and
    sums are separate NumPy calls on purpose: no fused multiply-add, no reordering.
    """
    starts, weights = lanczos_weights(len(image), count)
    rows = image.reshape(len(image), -1)  # [H, W * 3]
    out = np.empty((count, rows.shape[1]), np.uint8)
    for left in range(0, rows.shape[1], STRIP):
        strip = rows[:, left : left + STRIP].astype(f32)
        total = np.empty(strip.shape[1], f32)
        product = np.empty_like(total)
        for i, (start, taps) in enumerate(zip(starts, weights, strict=True)):
            total.fill(0.5)
            for row, weight in zip(strip[start : start + len(taps)], taps, strict=True):
                np.multiply(row, weight, out=product)
                np.add(total, product, out=total)
            np.clip(total, 0, 255, out=total)
            out[i, left : left + STRIP] = total  # truncates
    return out.reshape(count, *image.shape[1:])


def lanczos_weights(size: int, new_size: int) -> tuple[list[int], list[NDArray[np.float32]]]:
    """The first tap and the normalised float32 weights of every output position."""
    scale = f32(size) / f32(new_size)
    stretch = max(scale, f32(1))
    support = f32(LOBES) * stretch
    squeeze = f32(1) / stretch
    starts, weights = [], []
    for i in range(new_size):
        center = f32((i + 0.5) * float(scale))
        start = max(math.floor(center - support), 0)
        stop = min(math.ceil(center + support), size)
        offsets = np.arange(start, stop, dtype=f32) - center
        arguments = ((offsets.astype(np.float64) + 0.5) * float(squeeze)).astype(f32)
        taps = _lanczos(arguments) * squeeze
        total = np.add.accumulate(taps)[-1]  # one after the other, unlike np.sum
        starts.append(start)
        weights.append(taps / total)
    return starts, weights


def _lanczos(t: NDArray[np.float32]) -> NDArray[np.float32]:
    inside = (t >= -LOBES) & (t < LOBES)
    return np.where(inside, _sinc(t) * _sinc(t / f32(LOBES)), f32(0))


def _sinc(t: NDArray[np.float32]) -> NDArray[np.float32]:
    angles = (t.astype(np.float64) * math.pi).astype(f32)
    # math.sin, since NumPy's vectorised sine may differ from the C library's in the last bit.
    return np.array([math.sin(u) / u if u else 1.0 for u in angles.tolist()], f32)
