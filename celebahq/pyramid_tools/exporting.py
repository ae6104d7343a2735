"""A pyramid file in the forms that other trainers read."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from celebahq.errors import ToolError
from celebahq.files import atomic_folder, atomic_zip, refuse_existing
from celebahq.pictures.encoding import encode_png
from celebahq.pyramid import Labels, PyramidReader, one_hot
from celebahq.pyramid_tools.extraction import check_indices, choose_level
from celebahq.pyramid_tools.mds import write_shards
from celebahq.readers.tfrecords import encode_record
from celebahq.sources.labels import LABELS_FILE
from celebahq.threads import ordered_map

MIN_TFRECORD_RESOLUTION = 4
METADATA_FILE = "metadata.jsonl"
TAR_IMAGES = 1000
FORMS_WITH_FACTS = ("webdataset", "mds", "imagefolder")


def export_images(
    reader: PyramidReader,
    out: Path,
    form: str,
    *,
    resolution: int | None = None,
    overwrite: bool | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Write a pyramid's images in another form; the same pyramid gives the same bytes.

    Args:
        reader: The pyramid.
        out: The zip or folder to be.
        form: `folder` and `zip` hold PNG files `00000/img00000000.png`, a thousand to a folder, and
            `dataset.json`, as StyleGAN's trainers read them; `folder-by-class` has `CLASS/00000000.png`,
            as torchvision's `ImageFolder` reads it; `imagefolder` PNG files and `metadata.jsonl` with labels
            and facts, as `datasets` reads it; `webdataset` tar files with KEY.png, KEY.json, and KEY.cls for
            a class; `mds` shards with the columns `image`, `facts` and, for a class, `label`, as Mosaic's
            StreamingDataset reads them. `tfrecord` holds the levels down to 4x4 as the TensorFlow version of
            progressive GAN training reads them: for a folder NAME `NAME-r02.tfrecords` (4x4),
            `NAME-r03.tfrecords`, ... and, with labels, `NAME-rxx.labels` (a NumPy array `[N, L]` float32).
        resolution: The level, the largest unless told; `tfrecord` has all.
        overwrite: Replace a zip that is there; a folder is never replaced.
        on_image: Called after each image.

    Raises:
        ToolError: `out` exists, or there is no such level or no image, or nothing that the form can hold.
    """
    refuse_existing(out, overwrite=overwrite)
    check_indices(reader, range(len(reader)))
    if form == "tfrecord":
        _write_tfrecords(reader, out, on_image)
        return
    pictures = _pictures(reader, resolution, on_image)
    if form == "webdataset":
        _write_tars(reader, out, pictures)
    elif form == "mds":
        _write_mds(reader, out, pictures)
    elif form == "zip":
        with atomic_zip(out) as write:
            for name, data in _with_labels(reader, pictures):
                write(name, data)
    else:
        with atomic_folder(out) as partial:
            for name, data in FILES[form](reader, pictures):
                path = partial / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)


def facts_left_out(reader: PyramidReader, form: str) -> list[str]:
    """Facts about images that a form has no place for."""
    return [] if form in FORMS_WITH_FACTS else sorted(reader.meta_names)


def _with_labels(reader: PyramidReader, pictures: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """Pictures, then class numbers or labels by name."""
    for index, data in enumerate(pictures):
        yield _picture_name(index), data
    values = None if reader.labels is None else _plain_labels(reader.labels)
    labels = None if values is None else [[_picture_name(i), value] for i, value in enumerate(values)]
    yield LABELS_FILE, (json.dumps({"labels": labels}) + "\n").encode()


def _by_class(reader: PyramidReader, pictures: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """Pictures below their class's folder."""
    labels = reader.labels
    classes = None if labels is None else one_hot(labels)
    if labels is None or classes is None:
        raise ToolError(reader.path, "folder-by-class needs labels with one class for each image")
    digits = len(str(labels.shape[1] - 1))  # so that the order of the names is that of the numbers
    for index, data in enumerate(pictures):
        yield f"{classes[index]:0{digits}d}/{index:08d}.png", data


def _with_facts(reader: PyramidReader, pictures: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """Pictures, then a line of JSON for each."""
    for index, data in enumerate(pictures):
        yield _picture_name(index), data
    lines = [
        json.dumps({"file_name": _picture_name(index), **facts}, ensure_ascii=False) + "\n"
        for index, facts in enumerate(_facts_of_images(reader))
    ]
    yield METADATA_FILE, "".join(lines).encode()


FILES = {"folder": _with_labels, "folder-by-class": _by_class, "imagefolder": _with_facts}
"""Name and contents of every file of a folder."""


def _write_tars(reader: PyramidReader, folder: Path, pictures: Iterator[bytes]) -> None:
    """`NAME-000000.tar`, ..., a thousand images in each."""
    facts, labels = _facts_of_images(reader), reader.labels
    classes = None if labels is None else one_hot(labels)
    numbered = enumerate(pictures)
    with atomic_folder(folder) as partial:
        for start in range(0, len(reader), TAR_IMAGES):
            path = partial / f"{folder.name}-{start // TAR_IMAGES:06d}.tar"
            with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
                for index, data in islice(numbered, TAR_IMAGES):
                    _add(tar, f"{index:08d}.png", data)
                    _add(tar, f"{index:08d}.json", json.dumps(facts[index], ensure_ascii=False).encode())
                    if classes is not None:
                        _add(tar, f"{index:08d}.cls", str(classes[index]).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # of the year 1970, owned by nobody
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _write_mds(reader: PyramidReader, folder: Path, pictures: Iterator[bytes]) -> None:
    """Shards of at most 64 MiB, and their index."""
    facts, labels = _facts_of_images(reader), reader.labels
    classes = None if labels is None else one_hot(labels)

    def samples() -> Iterator[dict[str, bytes]]:
        for index, data in enumerate(pictures):
            sample = {"image": data, "facts": json.dumps(facts[index], ensure_ascii=False).encode()}
            if classes is not None:
                sample["label"] = np.int64(classes[index]).tobytes()
            yield sample

    encodings = {"image": "png", "facts": "json"} | ({} if classes is None else {"label": "int"})
    with atomic_folder(folder) as partial:
        write_shards(partial, encodings, samples())


def _write_tfrecords(reader: PyramidReader, folder: Path, on_image: Callable[[], None]) -> None:
    """A file for each level, and the labels' one."""
    levels = [r for r in reader.levels if r >= MIN_TFRECORD_RESOLUTION]
    if not levels:
        raise ToolError(
            reader.path, f"{reader.resolution}x{reader.resolution} is less than a TFRecord set's 4x4"
        )

    def encode(index: int) -> list[bytes]:
        return [encode_record(reader.read([index], r)[0]) for r in levels]

    with atomic_folder(folder) as partial, ExitStack() as stack:
        names = [f"{folder.name}-r{r.bit_length() - 1:02d}.tfrecords" for r in levels]
        files = [stack.enter_context((partial / name).open("wb")) for name in names]
        for records in ordered_map(encode, range(len(reader))):
            for file, record in zip(files, records, strict=True):
                file.write(record)
            on_image()
        if reader.labels is not None:
            with (partial / f"{folder.name}-rxx.labels").open("wb") as labels:
                np.save(labels, reader.labels)


def _facts_of_images(reader: PyramidReader) -> list[dict[str, Any]]:
    """Labels and facts of each image, as JSON has them."""
    columns = {name: reader.meta(name).tolist() for name in sorted(reader.meta_names)}
    if reader.labels is not None:
        columns["label"] = _plain_labels(reader.labels)
    return [{name: values[index] for name, values in columns.items()} for index in range(len(reader))]


def _pictures(reader: PyramidReader, resolution: int | None, on_image: Callable[[], None]) -> Iterator[bytes]:
    """PNG file of every image."""
    level = choose_level(reader, resolution)

    def encode(index: int) -> bytes:
        return encode_png(reader.read([index], level)[0].transpose(1, 2, 0))

    for data in ordered_map(encode, range(len(reader))):
        yield data
        on_image()


def _picture_name(index: int) -> str:
    return f"{index // 1000:05d}/img{index:08d}.png"


def _plain_labels(labels: Labels) -> list[Any]:
    """Class numbers where that loses nothing, rows of numbers else.

    A reader of class numbers takes the largest one for the last class, so that it must occur.
    """
    classes = one_hot(labels)
    if classes is None or classes.max() != labels.shape[1] - 1:
        rows: list[Any] = np.asarray(labels).tolist()
        return rows
    numbers: list[Any] = classes.tolist()
    return numbers
