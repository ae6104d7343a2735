"""Labels as StyleGAN's tools write them, and classes as rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from celebahq.errors import FormatError
from celebahq.files import parse_json
from celebahq.pyramid import ROWS_BYTES, ClassLabels, Labels

LABELS_FILE = "dataset.json"
MAX_CLASSES = 100_000


def parse_labels(data: bytes, names: Sequence[str], where: str) -> Labels | None:
    """Labels from StyleGAN's `dataset.json`: `{"labels": [[name, class or numbers], ...]}` or null.

    Args:
        data: The file.
        names: Of the pictures, in the order of the result.
        where: The file's name, for messages.

    Returns:
        `[N, L]` float32; class numbers become rows with a single 1, as many classes as the largest says.
        Those of many classes are held as numbers.

    Raises:
        FormatError: It is not such a file, or lacks a picture.
    """
    try:
        entries = parse_json(data, where)["labels"]
        labels = None if entries is None else {name: label for name, label in entries}
    except (FormatError, ValueError, KeyError, TypeError) as err:
        raise FormatError(where, "not StyleGAN's labels, as in {'labels': [['a.png', 3], ...]}") from err
    if labels is None:
        return None
    if len(labels) != len(entries):
        raise FormatError(where, "names a picture twice")
    missing = [name for name in names if name not in labels]
    if missing:
        raise FormatError(
            where, f"no label for {len(missing):,} of {len(names):,} pictures ({missing[0]}, ...)"
        )
    return _as_rows([labels[name] for name in names], where)


def class_rows(classes: Sequence[int], where: str) -> Labels:
    """Class numbers as rows with a single 1: `[N, largest + 1]` float32; many are held as numbers.

    Raises:
        FormatError: There are more classes than make sense.
    """
    largest = max(classes)
    if largest >= MAX_CLASSES:
        raise FormatError(
            where,
            f"{len(classes):,} labels with class numbers up to {str(largest)[:20]}; number the classes "
            f"from 0 without gaps; at most {MAX_CLASSES:,} are taken",
        )
    labels = ClassLabels(np.array(classes, np.int32), largest + 1)
    return labels if len(classes) * (largest + 1) * 4 > ROWS_BYTES else labels[:]


def _as_rows(values: list[Any], where: str) -> Labels:
    if all(isinstance(value, int) and value >= 0 for value in values):
        return class_rows(values, where)
    try:
        with np.errstate(over="ignore"):
            rows = np.array(values, np.float32)
    except (ValueError, TypeError, OverflowError) as err:
        raise FormatError(where, "the labels are not all class numbers, or rows of equal length") from err
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise FormatError(where, "the labels are not all class numbers, or rows of equal length")
    return rows
