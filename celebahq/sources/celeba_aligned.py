"""CelebA's own aligned images, as the paper's 128x128 experiments use them."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from celebahq.errors import ToolError
from celebahq.pictures.decoding import decode_photo, open_picture
from celebahq.sources.catalogue import SOURCES
from celebahq.sources.data_set import DataSet, Example, ImportOptions, require_count
from celebahq.sources.listing import names_and_sizes_sha256

FOLDERS = ("img_align_celeba_png", "img_align_celeba", "Img/img_align_celeba", ".")
COUNT = 202_599
WIDTH, HEIGHT = 178, 218
CENTRE_X, CENTRE_Y = 89, 121
RESOLUTION = 128


class AlignedCelebA(DataSet):
    """128x128 around the face's centre.

    Source: the paper's own data set tool, `create_celeba`.
    """

    source = SOURCES["celeba"]

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self.resolution, self.channels = RESOLUTION, 3
        for folder in (path / name for name in FOLDERS):
            found = folder.iterdir() if folder.is_dir() else []
            names = sorted(file.name for file in found if re.fullmatch(r"\d{6}\.(png|jpe?g)", file.name))
            if names:
                self._folder, self._names = folder, names
                break
        else:
            raise ToolError(
                path, f"no pictures NNNNNN.jpg or .png in img_align_celeba; get {self.source.origin}"
            )
        require_count(self._folder, len(self._names), COUNT, options)

    def __len__(self) -> int:
        return len(self._names)

    def facts(self) -> dict[str, Any]:
        """The list of files and their sizes."""
        return {"names_and_sizes_sha256": names_and_sizes_sha256(self._folder, self._names)}

    def read(self, index: int) -> Example:
        """One picture's middle."""
        name = self._names[index]
        with open_picture(self._folder / name) as file:
            photo = decode_photo(file, name, orient=False)
        if photo.shape != (HEIGHT, WIDTH, 3):
            height, width, _ = photo.shape
            raise ToolError(name, f"{width}x{height} pixels, not {WIDTH}x{HEIGHT}")
        half = RESOLUTION // 2
        crop = photo[CENTRE_Y - half : CENTRE_Y + half, CENTRE_X - half : CENTRE_X + half]
        return Example(np.ascontiguousarray(crop.transpose(2, 0, 1)))

    def image_name(self, index: int) -> str:
        """File name."""
        return self._names[index]
