"""How much of a photo is still as it was: PSNR and SSIM."""

from dataclasses import dataclass

import numpy as np

from celebahq.restore.infer import Photo

MOST_PX = 2048
"""Side of the middle that is looked at: SSIM in float64 takes 50 times the memory of the picture."""
SSIM_WINDOW_PX = 7


@dataclass(frozen=True)
class Likeness:
    """Of two pictures, over RGB; JSON-able with `dataclasses.asdict`."""

    psnr_db: float | None
    """Peak 255; None for equal pictures."""
    ssim: float | None
    """Mean over channels, window of 7 x 7 pixels; None for pictures smaller than that."""


def measure_likeness(one: Photo, other: Photo) -> Likeness:
    """Compare the middles, of up to `MOST_PX` each way, of two pictures `(H, W, 3)` uint8 of one size.

    Source: Wang, Bovik, Sheikh & Simoncelli 2004 for SSIM.
    """
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    one, other = _middle(one), _middle(other)
    differs = not np.array_equal(one, other)
    large = min(one.shape[:2]) >= SSIM_WINDOW_PX
    return Likeness(
        psnr_db=float(peak_signal_noise_ratio(one, other)) if differs else None,
        ssim=float(structural_similarity(one, other, channel_axis=2)) if large else None,
    )


def describe_likeness(found: Likeness) -> str:
    """In words: `PSNR 34.2 dB, SSIM 0.951`."""
    psnr = "equal" if found.psnr_db is None else f"PSNR {found.psnr_db:.1f} dB"
    return psnr if found.ssim is None else f"{psnr}, SSIM {found.ssim:.3f}"


def _middle(picture: Photo) -> Photo:
    top, left = (max(side - MOST_PX, 0) // 2 for side in picture.shape[:2])
    return picture[top : top + MOST_PX, left : left + MOST_PX]
