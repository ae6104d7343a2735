from .crop import align_face
from .errors import FormatError, MissingExtraError, ToolError
from .geometry import crop_quad

__all__ = [
    "FormatError",
    "MissingExtraError",
    "ToolError",
    "align_face",
    "crop_quad",
]
