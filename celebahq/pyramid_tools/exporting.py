"""A pyramid file in the forms that other trainers read."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from celebahq.errors import ToolError
from celebahq.files import atomic_folder, atomic_zip, refuse_existing
from celebahq.pictures.encoding import encode_png
from celebahq.pyramid import PyramidReader
from celebahq.pyramid_tools.extraction import check_indices, choose_level
from celebahq.sources.labels import LABELS_FILE
from celebahq.tfrecords import encode_record
from celebahq.threads import ordered_map

MIN_TFRECORD_RESOLUTION = 4


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


def _pictures(reader: PyramidReader, resolution: int | None) -> Iterator[tuple[str, bytes]]:
    """Name and PNG file of every image."""

    level = choose_level(reader, resolution)

    def encode(index: int) -> tuple[str, bytes]:
        return _picture_name(index), encode_png(reader.read([index], level)[0].transpose(1, 2, 0))

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
    one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()
    classes: list[Any] = labels.argmax(axis=1).tolist()
    rows: list[Any] = labels.tolist()
    return classes if one_hot and max(classes) == labels.shape[1] - 1 else rows
