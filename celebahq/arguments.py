"""What commands can be given: kinds of paths, and the options that mean the same in all three packages."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from celebahq.pictures.suffixes import SUFFIXES
from celebahq.processes import is_device_name

F = TypeVar("F", bound=Callable[..., Any])

HDF5 = (".h5", ".hdf5")
OF_FILES = (
    *HDF5,
    *SUFFIXES,
    *(".zip", ".tar", ".npz", ".npy", ".tfrecord", ".tfrecords", ".safetensors", ".pt2", ".onnx", ".pkl"),
    *(".mp4", ".csv", ".json", ".html"),
)
"""Endings that nobody gives to a folder."""

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
ANY_PATH = click.Path(exists=True, path_type=Path)
WORKERS = click.IntRange(1, 1024)


class _DataSet(click.Path):
    """A pyramid file, or several with a manifest; what is none, but could become one, gets told how."""

    def __init__(self) -> None:
        super().__init__(exists=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse folders, pictures and archives."""
        from celebahq.pyramid import is_data_set

        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.is_dir() and not is_data_set(path):
            self.fail(f"'{path}' is a folder, not an HDF5 file; {how_to_make(path)}", param, ctx)
        if path.name.lower().endswith(SUFFIXES):
            folder = path.parent
            self.fail(f"'{path}' is a picture, not an HDF5 file; {how_to_make(folder)}", param, ctx)
        if path.name.lower().endswith(".zip"):
            remedy = f"celebahq import zip {path} -o FILE.h5 makes one of its pictures"
            self.fail(f"'{path}' is a zip, not an HDF5 file; {remedy}", param, ctx)
        return path


def how_to_make(folder: Path) -> str:
    """The commands that make a data set of the pictures in a folder."""
    return (
        f"celebahq build --photos {folder} -o FILE.h5 makes one of the faces in photos, "
        f"celebahq import folder {folder} -o FILE.h5 one of square pictures"
    )


class _NewPath(click.Path):
    """Something that the command will make."""

    def __init__(
        self,
        *,
        file_okay: bool = True,
        dir_okay: bool = True,
        endings: tuple[str, ...] = (),
        remedy: str = "",
    ) -> None:
        """A kind of output.

        Args:
            file_okay: Whether it may be a file.
            dir_okay: Whether it may be a folder.
            endings: One of them must end a file's name.
            remedy: What to do for another format.
        """
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)
        self.endings, self.remedy = endings, remedy

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse the empty name, and one that says another format than is written."""
        if not os.fspath(value):
            self.fail("the name is empty", param, ctx)
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.name.lower().endswith(self.endings or ("",)) and (self.endings or self.file_okay):
            return path
        formats, remedy = " or ".join(self.endings), f"; {self.remedy}" if self.remedy else ""
        if not self.dir_okay:
            otherwise = remedy or "; no other format is written"
            self.fail(f"'{path}' does not end in {formats}{otherwise}", param, ctx)
        if path.name.lower().endswith(OF_FILES):
            or_file = f", or a file ending in {formats}" if formats else ""
            self.fail(f"'{path}': a folder is written{or_file}{remedy}", param, ctx)
        return path


DATA_SET = _DataSet()
NEW_PATH = _NewPath()
NEW_DATA_SET = _NewPath(
    dir_okay=False,
    endings=HDF5,
    remedy="an HDF5 file is written, of which celebahq export makes a zip or a folder",
)
NEW_FILE_OR_PARTS = _NewPath(endings=HDF5)
NEW_ZIP = _NewPath(dir_okay=False, endings=(".zip",))
NEW_FOLDER = _NewPath(file_okay=False)
NEW_PNG = _NewPath(dir_okay=False, endings=(".png",))
NEW_MP4 = _NewPath(dir_okay=False, endings=(".mp4",))
NEW_SAFETENSORS = _NewPath(dir_okay=False, endings=(".safetensors",))
NEW_NETWORK = _NewPath(dir_okay=False, endings=(".safetensors", ".pt2", ".onnx"))
NEW_IMAGES = _NewPath(endings=(*HDF5, ".zip"), remedy="trainer grid draws images into one picture")


class _DeviceName(click.ParamType[str]):
    """What a device is called; whether it is there is seen when it is used."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse other names."""
        if not is_device_name(value):
            self.fail(f"'{value}' is not a device; use auto, cpu, cuda or cuda:N", param, ctx)
        return value


DEVICE = _DeviceName()


def device_option(command: F) -> F:
    """`--device`, resolved with `resolve_device` inside the command."""
    return click.option(
        "--device", type=DEVICE, default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
    )(command)


def seed_option(command: F) -> F:
    """`--seed`, 0 unless told."""
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Key of all randomness."
    )(command)


def json_option(command: F) -> F:
    """`--json`: the result as one JSON object on stdout, parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")(
        command
    )


def workers_option(command: F) -> F:
    """`--workers`: how many items are worked on at once; None unless told."""
    return click.option(
        "--workers",
        type=WORKERS,
        metavar="N",
        help="So much is done at once  [default: as much as there are processors, and memory].",
    )(command)


def overwrite_option(command: F) -> F:
    """`--overwrite`: files of the outputs' names are replaced; folders never are."""
    return click.option("--overwrite", is_flag=True, help="Replace files that are there.")(command)


def dry_run_option(command: F) -> F:
    """`-n`, `--dry-run`: nothing is made."""
    return click.option(
        "-n", "--dry-run", is_flag=True, help="Check, print the configuration as JSON, and stop."
    )(command)
