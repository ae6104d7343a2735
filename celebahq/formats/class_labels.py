"""One-hot labels of many classes, held as class numbers: 4 bytes an image, rows when they are asked for."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_BYTES = 1 << 26
"""Rows that take no more are held as they are."""


class ClassLabels:
    """`[N, L]` float32 rows with a single 1 each, as far as NumPy's users need an array.

    `labels[i]`, `labels[rows]` and `labels[:, class]` give arrays; `np.asarray(labels)` makes all rows.
    """

    dtype, ndim = np.dtype(np.float32), 2

    def __init__(self, numbers: NDArray[np.int32], classes: int) -> None:
        self.numbers = numbers
        """`[N]`, each below the number of classes."""
        self.shape = (len(numbers), classes)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        if isinstance(index, tuple):
            rows, column = index
            chosen: NDArray[np.float32] = (self.numbers[rows] == column).astype(np.float32)
            return chosen
        numbers = np.asarray(self.numbers[index])
        rows = np.zeros((*numbers.shape, self.shape[1]), np.float32)
        np.put_along_axis(rows, numbers[..., None].astype(np.int64), 1, axis=-1)
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.float32, copy=False)


Labels = NDArray[np.float32] | ClassLabels


def class_numbers(rows: np.ndarray) -> NDArray[np.int32] | None:
    """The place of the single 1 of each row; None where a row is no such."""
    ones = rows == 1
    if not (ones.sum(axis=1) == 1).all() or np.count_nonzero(rows) != len(rows):
        return None
    numbers: NDArray[np.int32] = ones.argmax(axis=1).astype(np.int32)
    return numbers


def one_hot(labels: Labels) -> NDArray[np.int32] | None:
    """The class of each image, where every image has one."""
    return labels.numbers if isinstance(labels, ClassLabels) else class_numbers(labels)


def joined(labels: list[Labels]) -> Labels:
    """Those of several files, one after the other."""
    if all(isinstance(each, ClassLabels) for each in labels):
        numbers = np.concatenate([each.numbers for each in labels if isinstance(each, ClassLabels)])
        return ClassLabels(numbers, labels[0].shape[1])
    return np.concatenate([np.asarray(each) for each in labels])
