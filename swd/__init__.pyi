from .descriptors import gather_patches, normalize_descriptors
from .laplacian import laplacian_pyramid
from .msssim import ms_ssim
from .wasserstein import sliced_wasserstein

__all__ = [
    "gather_patches",
    "laplacian_pyramid",
    "ms_ssim",
    "normalize_descriptors",
    "sliced_wasserstein",
]
