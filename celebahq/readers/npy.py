"""Arrays in NumPy's own format, from outside."""

import struct
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import TOO_LITTLE_MEMORY, FormatError, ToolError

HEADER_ERRORS = (
    ValueError,
    TypeError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    OverflowError,
    RecursionError,
    struct.error,
)
"""What NumPy raises for damaged headers: it reads them as Python source."""


def map_npy(path: Path, name: str = "") -> NDArray[Any]:
    """The array in a `.npy` file, mapped and not read; objects are never unpickled.

    Args:
        path: The file.
        name: What to call it in messages; the path unless told.

    Raises:
        FormatError: It is no such file, or damaged.
        ToolError: There is too little memory.
    """
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except MemoryError as err:
        raise ToolError(name or path, TOO_LITTLE_MEMORY) from err
    except HEADER_ERRORS as err:
        reason = " ".join(str(err).split())[:200]
        raise FormatError(
            name or path, f"not an array of numbers in NumPy's format, or damaged ({reason})"
        ) from err
    return array
