from .align.blocks import block_artifacts
from .align.crop import align_face
from .align.faces import Face
from .align.geometry import crop_quad
from .align.quality import build_score, spectral_quality
from .align.search import find_faces
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
from .pictures.decoding import load_photo
from .pyramid import PyramidLevel, PyramidReader, PyramidWriter, mip_levels, open
from .reconstruct import reconstruct_dataset
from .restore.infer import Restorer, load_restorer

__all__ = [
    "BuildOptions",
    "CelebaSource",
    "Face",
    "FormatError",
    "ImportOptions",
    "ImportRequest",
    "JobOptions",
    "MissingExtraError",
    "PhotoSource",
    "PyramidLevel",
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
    "find_faces",
    "import_dataset",
    "legacy_align",
    "load_photo",
    "load_restorer",
    "mip_levels",
    "open",
    "reconstruct_dataset",
    "spectral_quality",
]

__version__: str
