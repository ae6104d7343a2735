"""Images out of a pyramid file: as PNG files, and as one sheet."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from math import ceil, sqrt
from pathlib import Path

from celebahq.errors import ToolError
from celebahq.files import atomic_folder, refuse_existing
from celebahq.pictures.encoding import encode_png, save_png
from celebahq.pictures.grids import image_grid
from celebahq.pyramid import PyramidReader
from celebahq.threads import ordered_map

SHEET_RESOLUTION = 128
MAX_SHEET_PIXELS = 1 << 28  # what most viewers open, and 2 GB of memory here


def extract_images(
    reader: PyramidReader,
    folder: Path,
    *,
    indices: Sequence[int],
    resolution: int | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Write images as `NNNNNNNN.png`, the number being the place in the file; all of them or none.

    Raises:
        ToolError: One of the files exists and is another picture, or there is no such image or level; nothing
            is written then.
    """
    check_indices(reader, indices)
    level = choose_level(reader, resolution)
    paths = [folder / f"{index:08d}.png" for index in indices]

    def picture(position: int) -> bytes:
        return encode_png(reader.read([indices[position]], level)[0].transpose(1, 2, 0))

    for position, path in enumerate(paths):  # those that a killed run has put there are welcome
        if path.exists() and path.read_bytes() != picture(position):
            raise ToolError(path, "exists already, with other content; choose another folder")
    # Beside the folder until all are there: whatever ends this early, the same command begins anew.
    new = not folder.exists()
    staged = folder if new else folder.with_name(f"{folder.name}.extracted")
    with atomic_folder(staged) as partial:

        def write(position: int) -> None:
            (partial / paths[position].name).write_bytes(picture(position))

        with closing(ordered_map(write, range(len(paths)))) as written:
            for _ in written:
                on_image()
        if not new:
            for path in set(paths):
                os.replace(partial / path.name, path)
    if not new:
        staged.rmdir()
    return paths


def check_indices(reader: PyramidReader, indices: Sequence[int]) -> None:
    """Raise `ToolError` if the file has no image of such a number, or none at all."""
    if not len(reader):
        raise ToolError(reader.path, "has no images")
    if max(indices) >= len(reader):
        raise ToolError(reader.path, f"has the images 0-{len(reader) - 1}, but not {max(indices)}")


def choose_level(reader: PyramidReader, resolution: int | None) -> int:
    """The level asked for, else the largest.

    Raises:
        ToolError: The file has no such level.
    """
    if resolution is not None and resolution not in reader.levels:
        levels = ", ".join(map(str, reader.levels))
        raise ToolError(reader.path, f"has no level of {resolution} pixels, but {levels}")
    return resolution or reader.resolution


def write_sheet(
    reader: PyramidReader,
    path: Path,
    *,
    indices: Sequence[int] | None = None,
    num: int = 64,
    columns: int | None = None,
    resolution: int | None = None,
    overwrite: bool = False,
) -> int:
    """Write a contact sheet as PNG.

    Args:
        reader: The file.
        path: The picture to make.
        indices: Images to show; else `num` of them, evenly spread over the file.
        num: How many, where the file has as many.
        columns: Images in a row; about as many as rows unless told.
        resolution: The level; the largest up to `SHEET_RESOLUTION` unless told.
        overwrite: Replace an existing picture.

    Returns:
        The number of images shown.

    Raises:
        ToolError: The picture exists or would be too large, or there are no such images or level.
    """
    refuse_existing(path, overwrite=overwrite)
    if indices is None:
        shown = min(num, len(reader))
        indices = [i * len(reader) // shown for i in range(shown)]
    check_indices(reader, indices)
    level = choose_level(reader, resolution or min(reader.resolution, SHEET_RESOLUTION))
    if len(indices) * level**2 > MAX_SHEET_PIXELS:
        raise ToolError(
            path,
            f"{len(indices):,} images of {level}x{level} are more than {MAX_SHEET_PIXELS:,} pixels; "
            "show fewer, or at a lower --resolution",
        )
    save_png(path, image_grid(reader.read(indices, level), columns or ceil(sqrt(len(indices)))))
    return len(indices)
