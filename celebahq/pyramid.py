"""The interchange format of all three packages: an HDF5 file with the images at every resolution.

Data sets `data{r}x{r}` for r = resolution, resolution / 2, ... 1 hold uint8 `[N, C, r, r]`, all of them the
same images; `labels` holds float32 `[N, L]`, `meta/NAME` one fact per image, and the root attributes
`format`, `format_version` and `provenance` (JSON) what the file is and where it comes from. Everything has a
CRC-32: a level its stored chunks, a column its values, the root the structure (docs/format.md). Files of the
original's layout (levels only, labels beside the file as `NAME-labels.npy`) are read as well.
"""

from celebahq.formats.levels import FORMAT_NAME, FORMAT_VERSION, encode_image, level_name, mip_levels
from celebahq.formats.pyramid_reader import PyramidReader
from celebahq.formats.pyramid_writer import PyramidWriter

__all__ = [
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "PyramidReader",
    "PyramidWriter",
    "encode_image",
    "level_name",
    "mip_levels",
]
