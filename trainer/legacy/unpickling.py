"""The authors' TensorFlow network pickles, read without TensorFlow and without executing anything.

A pickle is a program, and unpickling `tfutil.Network` would run the source text stored in it. Here only a
handful of names are known, each answered by an inert stand-in of ours, and every other name ends the reading.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt

from celebahq.errors import FormatError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PickledNetwork:
    """One `tfutil.Network`: the name of the function that builds it, its options, its variables."""

    build_function: str
    options: dict[str, Any]
    variables: dict[str, Array]
    lod: float


def read_networks(file: BinaryIO) -> tuple[PickledNetwork, PickledNetwork, PickledNetwork]:
    """G, D and Gs of a network pickle.

    Raises:
        FormatError: Not such a pickle; nothing in it is executed.
    """
    content = _unpickle(file)
    if not isinstance(content, tuple) or len(content) != 3:
        raise FormatError("not a network pickle: a tuple (G, D, Gs) is expected")
    G, D, Gs = content
    return _parse_network(G), _parse_network(D), _parse_network(Gs)


class _Stub:
    """Stands for an object that is nothing but its state."""

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _NetworkStub(_Stub):
    """For `tfutil.Network`."""


class _ArrayStub(_Stub):
    """For `numpy.ndarray`: (version, shape, dtype, is_fortran, data)."""


class _DtypeStub(_Stub):
    """For `numpy.dtype`: a code like f4, and a state whose second entry is the byte order."""

    def __init__(self, code: str, align: object = None, copy: object = None) -> None:
        super().__init__()
        self.code = code


class _ScalarStub:
    """For `numpy.core.multiarray.scalar`."""

    def __init__(self, dtype: _DtypeStub, data: bytes) -> None:
        self.dtype, self.data = dtype, data


def _reconstruct(kind: object, shape: object, code: object) -> _ArrayStub:
    """For NumPy's function of that name: an array whose state follows."""
    return _ArrayStub()


def _encode_latin1(text: str, encoding: str) -> bytes:
    """For `_codecs.encode`, the way in which old protocols write bytes."""
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("tfutil", "Network"): _NetworkStub,
    ("numpy", "ndarray"): _ArrayStub,
    ("numpy", "dtype"): _DtypeStub,
    ("_codecs", "encode"): _encode_latin1,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _KNOWN[_module, "_reconstruct"] = _reconstruct
    _KNOWN[_module, "scalar"] = _ScalarStub


class _Unpickler(pickle.Unpickler):
    """Knows the names that a network pickle needs, and no others."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a global."""
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; nothing was executed") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        """Network pickles have no references to the outside."""
        raise pickle.UnpicklingError("it refers to another file")


def _unpickle(file: BinaryIO) -> Any:
    try:
        return _Unpickler(file).load()
    except Exception as err:  # a damaged or hostile pickle can fail in any way
        raise FormatError(f"not a network pickle: {err or type(err).__name__}") from err


def _parse_network(stub: Any) -> PickledNetwork:
    state = stub.state if isinstance(stub, _NetworkStub) else None
    needed = ("build_func_name", "static_kwargs", "variables")
    if not isinstance(state, dict) or any(name not in state for name in needed):
        raise FormatError(f"not a network: an object of tfutil.Network with {', '.join(needed)} is expected")
    options = state["static_kwargs"]
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise FormatError("a network's static_kwargs are not a dictionary")
    try:
        variables = {str(name): _to_array(value) for name, value in state["variables"]}
    except (TypeError, ValueError) as err:
        raise FormatError(f"a network's variables are damaged: {err}") from err
    lod = variables.pop("lod", np.zeros(()))
    if lod.shape != ():
        raise FormatError("a network's lod is not one number")
    return PickledNetwork(str(state["build_func_name"]), options, variables, float(lod))


def _to_array(value: Any) -> Array:
    """A stand-in's numbers as a float array."""
    if isinstance(value, _ScalarStub):
        return np.frombuffer(value.data, _to_dtype(value.dtype), count=1).reshape(())
    if not isinstance(value, _ArrayStub) or not isinstance(value.state, tuple) or len(value.state) != 5:
        raise FormatError("a variable is not an array")
    _, shape, dtype, is_fortran, data = value.state
    if not isinstance(data, bytes):
        raise FormatError("an array holds something else than numbers")
    return np.frombuffer(data, _to_dtype(dtype)).reshape(shape, order="F" if is_fortran else "C")


def _to_dtype(stub: Any) -> np.dtype[Any]:
    code = stub.code if isinstance(stub, _DtypeStub) else None
    if code not in ("f2", "f4", "f8"):
        raise FormatError(f"an array has the type {code!r}: floating point is expected")
    order = stub.state[1] if isinstance(stub.state, tuple) and len(stub.state) > 1 else "<"
    return np.dtype(code).newbyteorder(">" if order == ">" else "<")
