from .crop import align_face
from .errors import FormatError, MissingExtraError, ToolError
from .geometry import crop_quad
from .legacy.align import legacy_align
from .pyramid import PyramidReader, PyramidWriter, mip_levels

__all__ = [
    "FormatError",
    "MissingExtraError",
    "PyramidReader",
    "PyramidWriter",
    "ToolError",
    "align_face",
    "crop_quad",
    "legacy_align",
    "mip_levels",
]
