"""A pyramid file in the forms that other trainers read."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from celebahq.errors import ToolError
from celebahq.files import atomic_folder, atomic_zip, refuse_existing
from celebahq.pictures.encoding import encode_png
from celebahq.pyramid import PyramidReader
from celebahq.pyramid_tools.extraction import check_indices, choose_level
from celebahq.readers.tfrecords import encode_record
from celebahq.sources.labels import LABELS_FILE
from celebahq.threads import ordered_map

MIN_TFRECORD_RESOLUTION = 4
METADATA_FILE = "metadata.jsonl"
TAR_IMAGES = 1000


def export_folder(
    reader: PyramidReader,
    folder: Path,
    *,
    resolution: int | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Write one level as PNG files `00000/img00000000.png`, a thousand to a folder, and `dataset.json`.

    Raises:
        ToolError: The folder exists, or there is no such level or no image.
    """
    refuse_existing(folder)
    check_indices(reader, range(len(reader)))
    with atomic_folder(folder) as partial:
        for name, data in _pictures(reader, resolution):
            path = partial / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            on_image()
        (partial / LABELS_FILE).write_text(_labels_json(reader), encoding="utf-8")


def export_zip(
    reader: PyramidReader,
    path: Path,
    *,
    resolution: int | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Write one level as a zip that StyleGAN's trainers read: PNG files and `dataset.json`.

    The same pyramid gives the same bytes.

    Raises:
        ToolError: The file exists, or there is no such level or no image.
    """
    refuse_existing(path)
    check_indices(reader, range(len(reader)))
    with atomic_zip(path) as write:
        for name, data in _pictures(reader, resolution):
            write(name, data)
            on_image()
        write(LABELS_FILE, _labels_json(reader).encode())


def export_tfrecord(
    reader: PyramidReader, folder: Path, *, on_image: Callable[[], None] = lambda: None
) -> None:
    """Write the levels down to 4x4 as the TensorFlow version of progressive GAN training reads them.

    For a folder NAME these are `NAME-r02.tfrecords` (4x4), `NAME-r03.tfrecords`, ... and, with labels,
    `NAME-rxx.labels` (a NumPy array `[N, L]` float32).

    Raises:
        ToolError: The folder exists, or there are no images, or they are smaller than 4x4.
    """
    refuse_existing(folder)
    check_indices(reader, range(len(reader)))
    levels = [r for r in reader.levels if r >= MIN_TFRECORD_RESOLUTION]
    if not levels:
        raise ToolError(
            reader.path, f"{reader.resolution}x{reader.resolution} is less than a TFRecord set's 4x4"
        )

    def encode(index: int) -> list[bytes]:
        return [encode_record(reader.read([index], r)[0]) for r in levels]

    with atomic_folder(folder) as partial:
        names = [f"{folder.name}-r{r.bit_length() - 1:02d}.tfrecords" for r in levels]
        files = [(partial / name).open("wb") for name in names]
        try:
            for records in ordered_map(encode, range(len(reader))):
                for file, record in zip(files, records, strict=True):
                    file.write(record)
                on_image()
        finally:
            for file in files:
                file.close()
        if reader.labels is not None:
            with (partial / f"{folder.name}-rxx.labels").open("wb") as file:
                np.save(file, reader.labels)


def export_by_class(
    reader: PyramidReader,
    folder: Path,
    *,
    resolution: int | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Write one level as `CLASS/00000000.png`, as torchvision's `ImageFolder` reads it.

    Raises:
        ToolError: The folder exists, there is no such level or no image, or no single class for each image.
    """
    refuse_existing(folder)
    check_indices(reader, range(len(reader)))
    labels = reader.labels
    if labels is None or not _one_hot(labels):
        raise ToolError(reader.path, "folder-by-class needs labels with one class for each image")
    digits = len(str(labels.shape[1] - 1))  # so that the order of the names is that of the numbers
    with atomic_folder(folder) as partial:
        for index, data in enumerate(_encoded(reader, resolution)):
            path = partial / f"{labels[index].argmax():0{digits}d}" / f"{index:08d}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            on_image()


def export_imagefolder(
    reader: PyramidReader,
    folder: Path,
    *,
    resolution: int | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Write one level as PNG files and `metadata.jsonl` with labels and facts, as `datasets` reads it.

    Raises:
        ToolError: The folder exists, or there is no such level or no image.
    """
    refuse_existing(folder)
    check_indices(reader, range(len(reader)))
    facts = _facts_of_images(reader)
    with atomic_folder(folder) as partial, (partial / METADATA_FILE).open("w", encoding="utf-8") as lines:
        for index, data in enumerate(_encoded(reader, resolution)):
            name = _picture_name(index)
            path = partial / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            lines.write(json.dumps({"file_name": name, **facts[index]}, ensure_ascii=False) + "\n")
            on_image()


def export_webdataset(
    reader: PyramidReader,
    folder: Path,
    *,
    resolution: int | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Write one level as `NAME-000000.tar`, ...: of each image KEY.png, KEY.json, and KEY.cls for a class.

    The same pyramid gives the same bytes.

    Raises:
        ToolError: The folder exists, or there is no such level or no image.
    """
    refuse_existing(folder)
    check_indices(reader, range(len(reader)))
    facts, labels = _facts_of_images(reader), reader.labels
    classes = labels.argmax(axis=1) if labels is not None and _one_hot(labels) else None
    pictures = _encoded(reader, resolution)
    with atomic_folder(folder) as partial:
        for start in range(0, len(reader), TAR_IMAGES):
            path = partial / f"{folder.name}-{start // TAR_IMAGES:06d}.tar"
            with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
                for index in range(start, min(start + TAR_IMAGES, len(reader))):
                    key = f"{index:08d}"
                    _add(tar, f"{key}.png", next(pictures))
                    _add(tar, f"{key}.json", json.dumps(facts[index], ensure_ascii=False).encode())
                    if classes is not None:
                        _add(tar, f"{key}.cls", str(classes[index]).encode())
                    on_image()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # of the year 1970, owned by nobody
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


EXPORTS: dict[str, Callable[..., None]] = {
    "folder": export_folder,
    "zip": export_zip,
    "webdataset": export_webdataset,
    "folder-by-class": export_by_class,
    "imagefolder": export_imagefolder,
}
"""What writes one level; `export_tfrecord` writes all."""


def facts_left_out(reader: PyramidReader, form: str) -> list[str]:
    """Facts about images that a form has no place for."""
    return [] if form in ("webdataset", "imagefolder") else sorted(reader.meta_names)


def _facts_of_images(reader: PyramidReader) -> list[dict[str, Any]]:
    """Labels and facts of each image, as JSON has them."""
    columns = {name: reader.meta(name).tolist() for name in sorted(reader.meta_names)}
    if reader.labels is not None:
        columns["label"] = _plain_labels(reader.labels)
    return [{name: values[index] for name, values in columns.items()} for index in range(len(reader))]


def _one_hot(labels: np.ndarray) -> bool:
    """Every image has one class."""
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all())


def _pictures(reader: PyramidReader, resolution: int | None) -> Iterator[tuple[str, bytes]]:
    """Name and PNG file of every image."""
    return ((_picture_name(index), data) for index, data in enumerate(_encoded(reader, resolution)))


def _encoded(reader: PyramidReader, resolution: int | None) -> Iterator[bytes]:
    """PNG file of every image."""
    level = choose_level(reader, resolution)

    def encode(index: int) -> bytes:
        return encode_png(reader.read([index], level)[0].transpose(1, 2, 0))

    return ordered_map(encode, range(len(reader)))


def _picture_name(index: int) -> str:
    return f"{index // 1000:05d}/img{index:08d}.png"


def _labels_json(reader: PyramidReader) -> str:
    """StyleGAN's label file: name and class number, or name and numbers, of every image."""
    values = None if reader.labels is None else _plain_labels(reader.labels)
    labels = None if values is None else [[_picture_name(i), value] for i, value in enumerate(values)]
    return json.dumps({"labels": labels}) + "\n"


def _plain_labels(labels: np.ndarray) -> list[Any]:
    """Class numbers where that loses nothing, rows of numbers else.

    A reader of class numbers takes the largest one for the last class, so that it must occur.
    """
    classes: list[Any] = labels.argmax(axis=1).tolist()
    rows: list[Any] = labels.tolist()
    return classes if _one_hot(labels) and max(classes) == labels.shape[1] - 1 else rows
