"""The authors' TensorFlow network pickles, read without TensorFlow and without executing anything.

A pickle is a program, and unpickling `tfutil.Network` would run the source text stored in it. Here it is read
as data: only a handful of names may occur, each answered by an inert stand-in; every other ends the reading.
"""

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError
from celebahq.readers.pickles import ARRAY_GLOBALS, Call, read_pickle, to_array, to_text

Array = NDArray[Any]
Option = str | int | float | bool | None

KNOWN = ARRAY_GLOBALS | {("tfutil", "Network")}
MAX_NUMBER = 1 << 62


@dataclass(frozen=True)
class PickledNetwork:
    """One `tfutil.Network`: the name of the function that builds it, its options, its variables."""

    build_function: str
    options: dict[str, Option]
    variables: dict[str, Array]
    lod: float


def read_networks(file: BinaryIO) -> tuple[PickledNetwork, PickledNetwork, PickledNetwork]:
    """G, D and Gs of a network pickle.

    Raises:
        FormatError: Not such a pickle; nothing in it is executed.
    """
    try:
        content = read_pickle(file, KNOWN)
    except FormatError as err:
        raise FormatError(f"not a network pickle: {err}") from err
    if not isinstance(content, tuple) or len(content) != 3:
        raise FormatError("not a network pickle: a tuple (G, D, Gs) is expected")
    G, D, Gs = content
    return _parse_network(G), _parse_network(D), _parse_network(Gs)


def _parse_network(network: Any) -> PickledNetwork:
    state = network.state if isinstance(network, Call) and network.function == "Network" else None
    state = {to_text(key): value for key, value in state.items()} if isinstance(state, dict) else {}
    needed = ("build_func_name", "static_kwargs", "variables")
    if any(name not in state for name in needed):
        raise FormatError(f"not a network: an object of tfutil.Network with {', '.join(needed)} is expected")
    options, pairs = state["static_kwargs"], state["variables"]
    if not isinstance(options, dict):
        raise FormatError("a network's static_kwargs are not a dictionary")
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise FormatError("a network's variables are not a list of names and values")
    variables = {to_text(name): _to_variable(value) for name, value in pairs}
    lod = variables.pop("lod", np.zeros(()))
    if lod.shape != () or not np.isfinite(lod):
        raise FormatError("a network's lod is not one number")
    return PickledNetwork(
        to_text(state["build_func_name"]),
        {to_text(name): _to_option(to_text(name), value) for name, value in options.items()},
        variables,
        float(lod),
    )


def _to_option(name: str, value: Any) -> Option:
    if isinstance(value, bytes):
        return to_text(value)
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        raise FormatError(f"a network's option {name} is a number without measure")
    if not isinstance(value, Option):
        raise FormatError(f"a network's option {name} is no plain value")
    return value


def _to_variable(value: Any) -> Array:
    """A variable as a float array."""
    if not isinstance(value, Call):
        raise FormatError("a variable is not an array")
    array = to_array(value)
    if array.dtype.kind != "f":
        raise FormatError(f"an array has the type {array.dtype}: floating point is expected")
    return array
