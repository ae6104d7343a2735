"""The ways into `swd` and `trainer` that no other project can block.

PyPI has other projects named `trainer` and `swd`. Installed beside this toolkit they write into the same
folders: whichever came last replaces the other's `__init__.py`, and uninstalling either deletes files of
both. The console scripts go through here, so that this is said in one line.
"""

import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from celebahq.errors import ToolError

DISTRIBUTION = "celebahq-toolkit"
MARK = "lazy_loader.attach_stub(__name__"
"""Stands in the `__init__.py` of this toolkit's packages."""


def own_package(name: str) -> ModuleType:
    """Import this toolkit's `swd` or `trainer`.

    Raises:
        ToolError: Another project's files lie there, or files are missing.

    Example:
        >>> own_package("swd").__name__
        'swd'
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None or MARK not in Path(spec.origin).read_text(encoding="utf-8"):
        raise ToolError(
            f"the package {name}", f"holds another project's files or none at all; {_remedy(name)}"
        )
    return import_module(name)


def _remedy(name: str) -> str:
    reinstall = f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
    return f"pip uninstall {name}, then {reinstall}" if _other_distribution(name) else reinstall


def _other_distribution(name: str) -> str | None:
    """The version of another project of that name that is installed too."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _run(name: str) -> None:
    try:
        own_package(name)
        main = import_module(f"{name}.cli").main
    except ToolError as err:
        sys.exit(f"Error: {err}")
    except ModuleNotFoundError as err:
        if not (err.name or "").startswith(name):
            raise
        sys.exit(f"Error: the package {name}: lacks files; {_remedy(name)}")
    version = _other_distribution(name)
    if version is not None:
        note = f"another project named {name} ({version}) is installed too and shares this package's folder"
        sys.stderr.write(f"{note}; uninstalling it will delete files here\n")
    main()


def run_swd() -> None:
    """The console scripts `swd` and `celebahq-swd`."""
    _run("swd")


def run_trainer() -> None:
    """The console scripts `trainer` and `celebahq-trainer`."""
    _run("trainer")
