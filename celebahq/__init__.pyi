from .crop import align_face
from .errors import FormatError, MissingExtraError, ToolError
from .geometry import crop_quad
from .legacy.align import legacy_align
from .pyramid import PyramidReader, PyramidWriter, mip_levels
from .quality import block_artifacts, build_score, spectral_quality
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
