"""CelebA as it is distributed: in-the-wild photos and annotation files.

img_celeba/000001.jpg ... 202599.jpg    (also below Img/)
Anno/list_landmarks_celeba.txt
Anno/list_attr_celeba.txt, Anno/identity_CelebA.txt    (for labels only)
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError, ToolError
from celebahq.sources.records import FaceIndex

PHOTO_FOLDERS = ("img_celeba", "Img/img_celeba")
LANDMARKS = "Anno/list_landmarks_celeba.txt"
ATTRIBUTES = "Anno/list_attr_celeba.txt"
IDENTITIES = "Anno/identity_CelebA.txt"
LABELS = ("attributes", "identities")

LANDMARK_COLUMNS = [
    f"{point}_{axis}"
    for point in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    for axis in ("x", "y")
]
ATTRIBUTE_COUNT = 40

HOW_TO_GET = (
    "from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html get the folder Anno and all parts of "
    "Img/img_celeba.7z (the in-the-wild images, not img_align_celeba), and unpack them below one folder: "
    "7z x img_celeba.7z.001"
)


def index_celeba(folder: Path, labels: Sequence[str] = ()) -> FaceIndex:
    """Read CelebA's annotations.

    The landmarks are in the files' own pixel frame, so the photos' EXIF orientation must be ignored: the
    index says so. Photos that are missing do not stop the indexing, see `missing_photos`.

    Args:
        folder: Holds `img_celeba` (or `Img/img_celeba`) and `Anno`.
        labels: Any of `attributes` (40 columns of 0 or 1) and `identities` (one column, the person's number).

    Raises:
        ToolError: A part is missing; the message says which and how to get it.
        FormatError: An annotation file is not what it must be.
    """
    photo_folder = next((folder / name for name in PHOTO_FOLDERS if (folder / name).is_dir()), None)
    if photo_folder is None:
        raise ToolError(folder, f"has no folder img_celeba with CelebA's photos; {HOW_TO_GET}")
    names, numbers, _ = _read_table(folder / LANDMARKS, LANDMARK_COLUMNS)

    columns: list[NDArray[np.float32]] = []
    label_names: list[str] = []
    for kind in labels:
        table, table_names = _read_labels(folder, kind, names)
        columns.append(table)
        label_names += table_names
    return FaceIndex(
        photo_folder,
        tuple(names),
        numbers.reshape(-1, 5, 2),
        orient=False,
        labels=np.concatenate(columns, axis=1) if columns else None,
        label_names=tuple(label_names),
    )


def missing_photos(index: FaceIndex) -> list[str]:
    """Names in the index that have no photo in its folder.

    Raises:
        ToolError: All are missing.
    """
    present = {entry.name for entry in os.scandir(index.folder)}
    missing = [name for name in index.names if name not in present]
    if len(missing) == len(index):
        raise ToolError(
            index.folder,
            f"holds none of the {len(index):,} annotated photos ({missing[0]}, ...); {HOW_TO_GET}",
        )
    return missing


def _read_labels(folder: Path, kind: str, names: list[str]) -> tuple[NDArray[np.float32], list[str]]:
    """One kind of label: `(N, columns)` and the columns' names."""
    if kind == "attributes":
        path = folder / ATTRIBUTES
        own_names, values, columns = _read_table(path)
        if not np.isin(values, (-1, 1)).all():
            raise FormatError(path, "holds other values than 1 and -1")
        values = values > 0
    elif kind == "identities":
        path = folder / IDENTITIES
        columns = ["identity"]
        own_names, values = _parse_rows(path, _lines(path), first_line=1, columns=1)
    else:
        raise ValueError(f"labels must be among {', '.join(LABELS)}, not {kind}")
    if own_names != names:
        raise FormatError(path, f"does not list the same {len(names):,} photos as {LANDMARKS}")
    return values.astype(np.float32), columns


def _read_table(path: Path, expected: list[str] | None = None) -> tuple[list[str], NDArray[Any], list[str]]:
    """A file with a count, column names, and rows: photos' names, `(N, columns)` values, columns' names."""
    lines = _lines(path)
    try:
        count = int(lines[0])
    except ValueError:
        raise FormatError(path, f"line 1 must be the number of photos, not '{lines[0][:40]}'") from None
    columns = lines[1].split() if len(lines) > 1 else []
    if expected and columns != expected:
        raise FormatError(
            path, f"line 2 must name the columns {' '.join(expected)}, not '{' '.join(columns)[:60]}'"
        )
    if not expected and len(columns) != ATTRIBUTE_COUNT:
        raise FormatError(path, f"line 2 names {len(columns)} attributes, not {ATTRIBUTE_COUNT}")
    names, values = _parse_rows(path, lines[2:], first_line=3, columns=len(columns))
    if not names:
        raise FormatError(path, "lists no photos; get the file again")
    if len(names) != count:
        raise FormatError(
            path, f"line 1 announces {count:,} photos, but {len(names):,} follow; get the file again"
        )
    return names, values, columns


def _parse_rows(
    path: Path, lines: list[str], *, first_line: int, columns: int
) -> tuple[list[str], NDArray[Any]]:
    """Rows of a photo's name and `columns` numbers: names and `(N, columns)` float64."""
    names = []
    values = np.empty((len(lines), columns))
    for row, line in enumerate(lines):
        name, *numbers = line.rsplit(maxsplit=columns) or [""]
        try:
            values[row] = [float(number) for number in numbers]
        except ValueError:
            raise FormatError(
                path,
                f"line {first_line + row} must be a photo's name and {columns} numbers, not '{line[:60]}'",
            ) from None
        if not np.isfinite(values[row]).all():
            raise FormatError(path, f"line {first_line + row} has a number that is not finite")
        names.append(name)
    if len(set(names)) != len(names):
        raise FormatError(path, "names a photo twice")
    return names, values


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").rstrip().split("\n")
    except FileNotFoundError:
        raise ToolError(path, f"not found; {HOW_TO_GET}") from None
    except UnicodeDecodeError:
        raise FormatError(path, "not a text file") from None
