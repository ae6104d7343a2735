"""A folder or a zip of square pictures."""

import logging
from pathlib import Path
from typing import Any

from celebahq.errors import ToolError
from celebahq.pictures.files import FolderFiles, PictureFiles, ZipFiles
from celebahq.pyramid import Labels
from celebahq.sources.catalogue import SOURCES
from celebahq.sources.data_set import DataSet, Example, ImportOptions
from celebahq.sources.labels import LABELS_FILE, class_rows, parse_labels
from celebahq.sources.listing import (
    listed,
    listing_sha256,
    names_and_sizes_sha256,
    require_listable,
    without_name,
)
from celebahq.sources.squares import decode_as, find_kind

log = logging.getLogger(__name__)


class FolderOfImages(DataSet):
    """Pictures of any format below a folder."""

    source = SOURCES["folder"]

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self._files = self._open(path)
        if self._files.remark:
            log.info(self._files.remark)
        self._resize, self._center_crop = options.resize is not None, options.center_crop
        self._kind = find_kind(self._files, options.resize)
        self.resolution, self.channels = self._kind
        self._labels = self._folder_labels() if options.folder_labels else self._file_labels()

    def _open(self, path: Path) -> PictureFiles:
        return FolderFiles(path)

    def __len__(self) -> int:
        return len(self._files.names)

    def facts(self) -> dict[str, Any]:
        """The list of files and their sizes, and the labels."""
        rows = [] if self._labels is None else [row.tobytes().hex() for row in self._labels]
        files = names_and_sizes_sha256(self._files.path, self._files.names)
        return {"names_and_sizes_sha256": files, "labels_sha256": listing_sha256(rows)}

    def read(self, index: int) -> Example:
        """One picture."""
        name = self._files.names[index]
        require_listable(name)
        label = str(self._files.path / name)
        with without_name(label), self._files.open(name) as file:
            image = decode_as(self._kind, file, label, resize=self._resize, center_crop=self._center_crop)
        return Example(image, None if self._labels is None else self._labels[index])

    def image_name(self, index: int) -> str:
        """Path below the folder."""
        return listed(self._files.names[index])

    def _file_labels(self) -> Labels | None:
        data = self._files.beside(LABELS_FILE)
        if data is None:
            return None
        path = self._files.path / LABELS_FILE
        labels = parse_labels(data, self._files.names, str(path))
        if labels is not None:
            log.info("%s: labels are taken from it", path)
        return labels

    def _folder_labels(self) -> Labels:
        """The first folder of each path is the class; classes are numbered in the order of their names."""
        folder, names = self._files.path, self._files.names
        loose = next((name for name in names if "/" not in name), None)
        if loose:
            raise ToolError(folder, f"--folder-labels, but {loose} is in no sub-folder")
        folders = [name.split("/")[0] for name in names]
        classes = {folder: number for number, folder in enumerate(sorted(set(folders)))}
        self.label_names = list(classes)
        listing = ", ".join(f"{number} = {name}" for name, number in classes.items())
        log.info("%s: classes %s", folder, listing)
        return class_rows([classes[folder] for folder in folders], str(folder))


class ZipOfImages(FolderOfImages):
    """The same in a zip, as StyleGAN's tools write it."""

    source = SOURCES["zip"]

    def _open(self, path: Path) -> PictureFiles:
        return ZipFiles(path)

    def facts(self) -> dict[str, Any]:
        """The zip's list of contents, which has a checksum of each."""
        assert isinstance(self._files, ZipFiles)
        entries = self._files.archive.infolist()
        lines = (f"{entry.filename} {entry.file_size} {entry.CRC:08x}" for entry in entries)
        return {"contents_sha256": listing_sha256(lines)}
