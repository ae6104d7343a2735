from .align.crop import align_face
from .align.geometry import crop_quad
from .align.quality import block_artifacts, build_score, spectral_quality
from .build import build_dataset
from .errors import FormatError, MissingExtraError, ToolError
from .importing import import_dataset
from .legacy.align import legacy_align
from .options import (
    BuildOptions,
    CelebaSource,
    ImportOptions,
    ImportRequest,
    JobOptions,
    PhotoSource,
    ReconstructOptions,
)
from .pyramid import PyramidReader, PyramidWriter, mip_levels
from .reconstruct import reconstruct_dataset
from .restore.infer import Restorer, load_restorer

__all__ = [
    "BuildOptions",
    "CelebaSource",
    "FormatError",
    "ImportOptions",
    "ImportRequest",
    "JobOptions",
    "MissingExtraError",
    "PhotoSource",
    "PyramidReader",
    "PyramidWriter",
    "ReconstructOptions",
    "Restorer",
    "ToolError",
    "align_face",
    "block_artifacts",
    "build_dataset",
    "build_score",
    "crop_quad",
    "import_dataset",
    "legacy_align",
    "load_restorer",
    "mip_levels",
    "reconstruct_dataset",
    "spectral_quality",
]
