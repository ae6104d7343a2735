"""Some images of a pyramid file as a file of their own; what is stored is copied, not encoded again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from celebahq.errors import ToolError
from celebahq.files import refuse_input
from celebahq.pyramid import (
    PyramidReader,
    PyramidWriter,
    codec_name,
    encoded_levels,
    level_name,
    require_whole,
)
from celebahq.pyramid_tools.extraction import check_indices

LISTED = 100
"""Longer lists of numbers or names are in the provenance by their length only."""


@dataclass(frozen=True)
class Selection:
    """Which images; those that meet all conditions, in the file's order or that of `indices`."""

    indices: Sequence[int] | None = None
    """Places in the file; the result keeps this order, repeats too."""
    names: Sequence[str] | None = None
    """Of photos, `meta/source_name`."""
    exclude: Sequence[str] | None = None
    """Names of photos to leave out."""
    min_score: float | None = None
    """Of `meta/quality_score`."""
    max_score: float | None = None
    labels: Sequence[tuple[str, float]] = ()
    """Name (or number) of a label's column and the value that it must have."""
    best: int | None = None
    """So many of the rest, by `meta/quality_score`."""

    def facts(self) -> dict[str, Any]:
        """For the provenance."""
        given = {name: value for name, value in vars(self).items() if value not in (None, ())}
        return {
            name: f"{len(value):,} given" if isinstance(value, Sequence) and len(value) > LISTED else value
            for name, value in given.items()
        }


def choose_images(reader: PyramidReader, selection: Selection) -> list[int]:
    """The places of the images that a selection names.

    Raises:
        ToolError: The file lacks a fact or label that is asked for, or an image or name that is listed.
    """
    if selection.indices is not None:
        check_indices(reader, selection.indices)
    chosen = np.array(range(len(reader)) if selection.indices is None else selection.indices, np.int64)
    if selection.names is not None or selection.exclude is not None:
        source = _fact(reader, "source_name")
        for listed in (selection.names, selection.exclude):
            missing = sorted(set(listed or ()) - set(source))
            if missing:
                raise ToolError(reader.path, f"{len(missing):,} names are not in it ({missing[0]}, ...)")
        if selection.names is not None:
            chosen = chosen[np.isin(source[chosen].astype(str), selection.names)]
        if selection.exclude is not None:
            chosen = chosen[~np.isin(source[chosen].astype(str), selection.exclude)]
    for limit, keeps in ((selection.min_score, np.greater_equal), (selection.max_score, np.less_equal)):
        if limit is not None:
            chosen = chosen[keeps(_fact(reader, "quality_score")[chosen], limit)]
    for name, value in selection.labels:
        chosen = chosen[_label(reader, name)[chosen] == np.float32(value)]
    if selection.best is not None:
        ranked = best_first(reader)
        best = set(ranked[np.isin(ranked, chosen)][: selection.best].tolist())
        chosen = np.array([index for index in chosen.tolist() if index in best], np.int64)
    return [int(index) for index in chosen]


def best_first(reader: PyramidReader) -> np.ndarray:
    """`[N]` places of all images, the one with the best score first; of equals the earlier.

    Raises:
        ToolError: The file has no scores.
    """
    return np.argsort(-_fact(reader, "quality_score"), kind="stable")


def select_images(
    reader: PyramidReader,
    out: Path,
    selection: Selection,
    *,
    overwrite: bool = False,
    on_image: Callable[[], None] = lambda: None,
) -> int:
    """Write the images that a selection names, with their labels and facts, into a new file.

    Returns:
        How many.

    Raises:
        ToolError: There are none, the file exists or is one of `reader`'s, which was perhaps not made by this
            toolkit.
        FormatError: `reader`'s file is damaged.
    """
    refuse_input(out, [reader.path, *(file.path for file in reader.files)])
    chosen = choose_images(reader, selection)
    if not chosen:
        raise ToolError(reader.path, "no image meets all that is asked for")
    if reader.format_version is None:
        raise ToolError(reader.path, "not written by this toolkit; celebahq import hdf5 makes it one")
    require_whole(reader)
    labels = reader.labels
    facts = {name: reader.meta(name) for name in reader.meta_names}
    codec = codec_name(reader.files[0].facts["levels"][level_name(reader.resolution)]["filters"])
    provenance = {
        "tool": f"celebahq-toolkit {version('celebahq-toolkit')}",
        "command": "select",
        "selection": selection.facts(),
        "from": reader.provenance,
        **({"label_names": reader.label_names} if reader.label_names else {}),
    }
    with PyramidWriter(
        out, reader.resolution, reader.channels, codec=codec, provenance=provenance, overwrite=overwrite
    ) as writer:
        for index in chosen:
            meta = {name: values[index] for name, values in facts.items()}
            label = None if labels is None else labels[index]
            writer.append_encoded(encoded_levels(reader, index), label, meta)
            on_image()
    return len(chosen)


def _fact(reader: PyramidReader, name: str) -> np.ndarray:
    if name not in reader.meta_names:
        raise ToolError(reader.path, f"has no meta/{name}; celebahq build writes it")
    return reader.meta(name)


def _label(reader: PyramidReader, name: str) -> np.ndarray:
    """One column of the labels: `[N]`."""
    if reader.labels is None:
        raise ToolError(reader.path, "has no labels")
    columns = reader.label_names
    if name in columns:
        return reader.labels[:, columns.index(name)]
    if name.isdecimal() and int(name) < reader.labels.shape[1]:
        return reader.labels[:, int(name)]
    known = ", ".join(columns) or "none has a name"
    raise ToolError(reader.path, f"no label {name}; there are {reader.labels.shape[1]} columns: {known}")
