"""Is a data set whole, and is every level what the largest one says it must be?"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from celebahq.errors import FormatError
from celebahq.files import sha256_file
from celebahq.pyramid import ClassLabels, PyramidFile, PyramidReader, damaged_parts, level_name, mip_levels
from celebahq.threads import ordered_map


def verify_pyramid(path: Path, on_image: Callable[[], None] = lambda: None) -> list[str]:
    """Look for everything that can be wrong with a data set.

    Args:
        path: A pyramid file, or one of the original's layout, or a manifest or its folder.
        on_image: Called after each image.

    Returns:
        The problems, a line each; none when the file is right.

    Raises:
        ToolError: There is no such file.
        FormatError: The structure is damaged, so that the images cannot be found.
    """
    reader = PyramidReader(path, threads=1)
    problems = []
    for file in reader.files:
        name = f"{file.path.name}: " if reader.files.manifest else ""
        problems += [f"{name}{problem}" for problem in _check_file(file)]
    return [*problems, *_check_digests(reader), *_check_images(reader, on_image)]


def _check_file(file: PyramidFile) -> Iterator[str]:
    """Checksums, names, and one row per image in labels, which are finite, and facts."""
    for name in damaged_parts(file):
        yield f"{name}: not what was written (CRC-32)"
    try:
        labels = file.labels
        if labels is not None and not isinstance(labels, ClassLabels) and not np.isfinite(labels).all():
            yield "labels: some are not finite"
    except FormatError as err:
        yield str(err)
    for name in file.meta_names:
        try:
            file.column(f"meta/{name}")
        except FormatError as err:
            yield str(err)
    for name in sorted(set(file.facts["levels"]) - {level_name(r) for r in file.levels}):
        yield f"{name}: a name at the root that starts with 'data' and is no level"


def _check_digests(reader: PyramidReader) -> Iterator[str]:
    """The files' bytes, against the manifest where there is one."""
    manifest = reader.files.manifest
    if manifest is None:
        return
    for part in manifest.parts:
        if sha256_file(manifest.where(part)) != part.sha256:
            yield f"{part.file}: not the bytes that {manifest.path.name} lists (SHA-256)"


def _check_images(reader: PyramidReader, on_image: Callable[[], None]) -> list[str]:
    """Recompute all levels of all images."""
    problems = []
    wrong: dict[int, list[tuple[int, int]]] = {r: [] for r in reader.levels}
    for index, found in enumerate(ordered_map(lambda i: _deviations(reader, i), range(len(reader)))):
        if isinstance(found, FormatError):
            problems.append(f"image {index}: {found}")
        else:
            for resolution, deviation in found.items():
                wrong[resolution].append((index, deviation))
        on_image()
    for resolution, images in wrong.items():
        if images:
            largest = max(deviation for _, deviation in images)
            problems.append(
                f"{level_name(resolution)}: {len(images):,} images, first {images[0][0]}, are not what the "
                f"largest level gives, by up to {largest} grey levels"
            )
    return problems


def _deviations(reader: PyramidReader, index: int) -> dict[int, int] | FormatError:
    """Resolution -> largest deviation from what the largest level gives, where there is any."""
    try:
        stored = [reader.read([index], r) for r in reader.levels]
    except FormatError as err:
        return err
    deviations = {
        level.shape[2]: int(np.abs(level.astype(np.int16) - expected).max())
        for level, expected in zip(stored, mip_levels(stored[0]), strict=False)
    }
    return {resolution: deviation for resolution, deviation in deviations.items() if deviation}
