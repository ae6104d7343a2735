from .comparison import compare
from .descriptors import gather_patches, normalize_descriptors
from .laplacian import laplacian_pyramid
from .metric import SlicedWassersteinDistance
from .msssim import ms_ssim
from .wasserstein import sliced_wasserstein

__all__ = [
    "SlicedWassersteinDistance",
    "compare",
    "gather_patches",
    "laplacian_pyramid",
    "ms_ssim",
    "normalize_descriptors",
    "sliced_wasserstein",
]
