"""A folder of square pictures."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from celebahq.errors import ToolError
from celebahq.pictures.decoding import open_picture
from celebahq.sources.catalogue import SOURCES
from celebahq.sources.data_set import DataSet, Example, ImportOptions
from celebahq.sources.labels import LABELS_FILE, class_rows, parse_labels
from celebahq.sources.listing import (
    find_photos,
    listed,
    listing_sha256,
    names_and_sizes_sha256,
    require_listable,
)
from celebahq.sources.squares import decode_as, kind_of_first, kind_resized

log = logging.getLogger(__name__)


class FolderOfImages(DataSet):
    """Pictures of any format below a folder, ordered by their path as bytes."""

    source = SOURCES["folder"]

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self._folder = path
        self._names = find_photos(path)
        self._resize, self._center_crop = options.resize is not None, options.center_crop
        if options.resize is None:
            self._kind = kind_of_first(self._names, lambda name: _read_bytes(path / name), str(path))
        else:
            self._kind = kind_resized(
                self._names, lambda name: _read_bytes(path / name), str(path), options.resize
            )
        self.resolution, self.channels = self._kind
        self._labels = self._folder_labels() if options.folder_labels else self._file_labels()

    def __len__(self) -> int:
        return len(self._names)

    def facts(self) -> dict[str, Any]:
        """The list of files and their sizes, and the labels."""
        rows = [] if self._labels is None else [row.tobytes().hex() for row in self._labels]
        files = names_and_sizes_sha256(self._folder, self._names)
        return {"names_and_sizes_sha256": files, "labels_sha256": listing_sha256(rows)}

    def read(self, index: int) -> Example:
        """One picture."""
        name = self._names[index]
        require_listable(name)
        with open_picture(self._folder / name) as file:
            image = decode_as(self._kind, file, name, resize=self._resize, center_crop=self._center_crop)
        return Example(image, None if self._labels is None else self._labels[index])

    def image_name(self, index: int) -> str:
        """Path below the folder."""
        return listed(self._names[index])

    def _file_labels(self) -> np.ndarray | None:
        path = self._folder / LABELS_FILE
        if not path.is_file():
            return None
        log.info(f"{path}: labels are taken from it")
        return parse_labels(path.read_bytes(), self._names, str(path))

    def _folder_labels(self) -> np.ndarray:
        """The first folder of each path is the class; classes are numbered in the order of their names."""
        loose = next((name for name in self._names if "/" not in name), None)
        if loose:
            raise ToolError(self._folder, f"--folder-labels, but {loose} is in no sub-folder")
        folders = [name.split("/")[0] for name in self._names]
        classes = {folder: number for number, folder in enumerate(sorted(set(folders)))}
        listing = ", ".join(f"{number} = {name}" for name, number in classes.items())
        log.info("%s: classes %s", self._folder, listing)
        return class_rows([classes[folder] for folder in folders], str(self._folder))


def _read_bytes(path: Path) -> bytes:
    with open_picture(path) as file:
        return file.read()
