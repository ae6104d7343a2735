"""Where two pyramid files differ."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import one_line
from celebahq.pyramid import ClassLabels, Labels, PyramidReader
from celebahq.threads import ordered_map


@dataclass(frozen=True)
class LevelDifference:
    """Differences of one level over the images that both files have."""

    resolution: int
    differing_images: int
    first: int | None
    """Index of the first differing image."""
    largest: int
    """Grey levels, 0..255."""
    mean: float
    """Mean absolute difference over all values of all images, in grey levels."""


@dataclass(frozen=True)
class Comparison:
    """Two pyramid files, A and B; JSON-able with `dataclasses.asdict`."""

    images: tuple[int, int]
    resolutions: tuple[int, int]
    channels: tuple[int, int]
    levels: list[LevelDifference]
    """Of the resolutions in both, over the first min(images); empty when the channels differ."""
    labels_equal: bool
    meta_differs: list[str]
    """Names of facts that differ or are in one file only."""
    provenance_equal: bool

    @property
    def same_data(self) -> bool:
        """Same images at every level and same labels; facts and provenance may differ."""
        pairs = (self.images, self.resolutions, self.channels)
        return (
            all(a == b for a, b in pairs)
            and not any(level.differing_images for level in self.levels)
            and self.labels_equal
        )


def compare_pyramids(path_a: Path, path_b: Path, on_image: Callable[[], None] = lambda: None) -> Comparison:
    """Compare images by their place in the file, then labels, facts and provenance.

    Args:
        path_a: A pyramid file, or one of the original's layout.
        path_b: Another.
        on_image: Called after each image that both have.

    Raises:
        ToolError: One of them does not exist.
        FormatError: One of them is damaged.
    """
    a, b = PyramidReader(path_a, threads=1), PyramidReader(path_b, threads=1)
    names = sorted({*a.meta_names, *b.meta_names})
    shared = set(a.meta_names) & set(b.meta_names)
    return Comparison(
        images=(len(a), len(b)),
        resolutions=(a.resolution, b.resolution),
        channels=(a.channels, b.channels),
        levels=_compare_levels(a, b, on_image) if a.channels == b.channels else [],
        labels_equal=_equal(a.labels, b.labels),
        meta_differs=[n for n in names if n not in shared or not _equal(a.meta(n), b.meta(n))],
        provenance_equal=a.provenance == b.provenance,
    )


def render_comparison(comparison: Comparison) -> str:
    """The comparison as lines for people."""
    lines = [
        f"{title}: {a:,} and {b:,}"
        for title, (a, b) in (
            ("images", comparison.images),
            ("resolution", comparison.resolutions),
            ("channels", comparison.channels),
        )
        if a != b
    ]
    compared = min(comparison.images)
    lines += [f"level  differing of {compared:,}    first  largest difference     mean"]
    for level in comparison.levels:
        first = "-" if level.first is None else str(level.first)
        lines.append(
            f"{level.resolution:5d}  {level.differing_images:{13 + len(f'{compared:,}')},d}  {first:>7s}"
            f"  {level.largest:18d}  {level.mean:7.4f}"
        )
    lines.append(f"labels: {'equal' if comparison.labels_equal else 'differ'}")
    lines.append(
        f"meta: {', '.join(comparison.meta_differs) + ' differ' if comparison.meta_differs else 'equal'}"
    )
    lines.append(f"provenance: {'equal' if comparison.provenance_equal else 'differs'}")
    lines.append("same images and labels" if comparison.same_data else "NOT the same images and labels")
    return "\n".join(map(one_line, lines))  # names in a file may hold anything


def _compare_levels(
    a: PyramidReader, b: PyramidReader, on_image: Callable[[], None]
) -> list[LevelDifference]:
    resolutions = [r for r in a.levels if r in b.levels]
    count = min(len(a), len(b))
    largest = np.zeros((count, len(resolutions)), np.int64)
    totals = np.zeros(len(resolutions), np.int64)

    def differences(index: int) -> list[NDArray[Any]]:
        return [np.abs(a.read([index], r).astype(np.int16) - b.read([index], r)) for r in resolutions]

    for index, levels in enumerate(ordered_map(differences, range(count))):
        largest[index] = [level.max() for level in levels]
        totals += [int(level.sum(dtype=np.int64)) for level in levels]
        on_image()
    return [
        LevelDifference(
            resolution=r,
            differing_images=int((column > 0).sum()),
            first=next(iter(np.flatnonzero(column).tolist()), None),
            largest=int(column.max(initial=0)),
            mean=float(total / (count * a.channels * r * r)),
        )
        for r, column, total in zip(resolutions, largest.T, totals, strict=True)
    ]


def _equal(a: Labels | None, b: Labels | None) -> bool:
    if a is None or b is None:
        return a is b
    if isinstance(a, ClassLabels) and isinstance(b, ClassLabels):
        return a.shape == b.shape and np.array_equal(a.numbers, b.numbers)
    return np.array_equal(a, b)
