from .errors import FormatError, MissingExtraError, ToolError

__all__ = [
    "FormatError",
    "MissingExtraError",
    "ToolError",
]
