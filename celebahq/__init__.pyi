from .align.crop import align_face
from .align.geometry import crop_quad
from .align.quality import block_artifacts, build_score, spectral_quality
from .errors import FormatError, MissingExtraError, ToolError
from .legacy.align import legacy_align
from .pyramid import PyramidReader, PyramidWriter, mip_levels
from .restore.infer import Restorer, load_restorer

__all__ = [
    "FormatError",
    "MissingExtraError",
    "PyramidReader",
    "PyramidWriter",
    "Restorer",
    "ToolError",
    "align_face",
    "block_artifacts",
    "build_score",
    "crop_quad",
    "legacy_align",
    "load_restorer",
    "mip_levels",
    "spectral_quality",
]
