from .comparison import compare
from .method.descriptors import gather_patches, normalize_descriptors
from .method.laplacian import laplacian_pyramid
from .method.msssim import ms_ssim
from .method.wasserstein import sliced_wasserstein
from .metric import SlicedWassersteinDistance
from .pipeline.sources import ImageSet
from .report import Report, Result

__all__ = [
    "ImageSet",
    "Report",
    "Result",
    "SlicedWassersteinDistance",
    "compare",
    "gather_patches",
    "laplacian_pyramid",
    "ms_ssim",
    "normalize_descriptors",
    "sliced_wasserstein",
]

__version__: str
