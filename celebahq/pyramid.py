"""The interchange format of all three packages: an HDF5 file with the images at every resolution.

Data sets `data{r}x{r}` for r = resolution, resolution / 2, ... 1 hold uint8 `[N, C, r, r]`, all of them the
same images; `labels` holds float32 `[N, L]`, `meta/NAME` one fact per image, and the root attributes
`format`, `format_version` and `provenance` (JSON) what the file is and where it comes from. Everything has a
CRC-32: a level its stored chunks, a column its values, the root the structure (docs/format.md). Files of the
original's layout (levels only, labels beside the file as `NAME-labels.npy`) are read as well.

What does not fit one file, or one disk, is a folder of such files and a manifest, `manifest.json`.
"""

from pathlib import Path

from celebahq.formats.class_labels import ROWS_BYTES, ClassLabels, Labels, one_hot
from celebahq.formats.codecs import CODECS, codec_name, dataset_options
from celebahq.formats.copying import encoded_levels, require_whole
from celebahq.formats.damage import damaged_parts
from celebahq.formats.hdf5_file import DatasetFacts
from celebahq.formats.levels import (
    FORMAT_NAME,
    FORMAT_VERSION,
    chunk_shape,
    decode_level,
    encode_image,
    level_name,
    mip_levels,
)
from celebahq.formats.manifest import MANIFEST, Manifest, Part, is_data_set, write_manifest
from celebahq.formats.map_style import PyramidLevel
from celebahq.formats.pyramid_file import PyramidFile
from celebahq.formats.pyramid_reader import PyramidReader
from celebahq.formats.pyramid_writer import PyramidWriter

__all__ = [
    "CODECS",
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "MANIFEST",
    "ROWS_BYTES",
    "ClassLabels",
    "DatasetFacts",
    "Labels",
    "Manifest",
    "Part",
    "PyramidFile",
    "PyramidLevel",
    "PyramidReader",
    "PyramidWriter",
    "chunk_shape",
    "codec_name",
    "damaged_parts",
    "dataset_options",
    "decode_level",
    "encode_image",
    "encoded_levels",
    "is_data_set",
    "level_name",
    "mip_levels",
    "one_hot",
    "open",
    "require_whole",
    "write_manifest",
]


def open(path: Path | str, *, threads: int | None = None) -> PyramidReader:
    """Open a pyramid file, or several with a manifest, as a data set of images.

    It can be given to a `torch.utils.data.DataLoader` as it is, with any number of workers.

    Args:
        path: The HDF5 file; or the manifest, or the folder that it is in.
        threads: To inflate with in each process; the machine's processors, at most 8, unless told.

    Raises:
        ToolError: There is no such file.
        FormatError: It is not a pyramid, is damaged, or comes from a later version of this tool.

    >>> import celebahq, numpy
    >>> with celebahq.PyramidWriter("faces.h5", resolution=64) as pyramid:
    ...     pyramid.append(numpy.zeros((10, 3, 64, 64), numpy.uint8))
    >>> faces = celebahq.open("faces.h5")
    >>> len(faces), faces[3].shape, faces[[3, 1]].shape, faces.at(16)[-1].shape
    (10, (3, 64, 64), (2, 3, 64, 64), (3, 16, 16))
    """
    return PyramidReader(path, threads=threads)
