"""Pickles from outside, read as data: no object is built from them, and nothing in them is run.

A pickle is a program for a small stack machine. The machine here knows numbers, text, bytes, lists, tuples
and dictionaries; what would be a call of a function becomes a `Call`, which only says what was asked for.
"""

import pickletools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from celebahq.errors import TOO_LITTLE_MEMORY, FormatError, ToolError

MAX_OPERATIONS = 2_000_000
"""CIFAR's largest batch has 300,000; a file that takes more than it is worth ends here."""
ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
ARRAY_GLOBALS = frozenset(
    {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
    | {(module, name) for module in ARRAY_MODULES for name in ("_reconstruct", "scalar")}
)
"""Names that the pickle of an array needs."""


NUMBERS = {"i1", "u1", "i2", "u2", "f2", "i4", "u4", "f4", "i8", "u8", "f8"}
"""NumPy's codes of the types that are read."""


@dataclass(frozen=True)
class Global:
    """A name that the pickle asks for."""

    module: str
    name: str


@dataclass(eq=False)
class Call:
    """What a pickle would call, with what, and the state that it would give to the result."""

    function: str
    arguments: tuple[Any, ...]
    state: Any = None


def read_pickle(file: BinaryIO, known: Collection[tuple[str, str]]) -> Any:
    """The content of a pickle.

    Strings of Python 2 come as bytes. Containers may be nested and shared at will: compare, hash or print
    nothing of unknown type.

    Args:
        file: Opened at the pickle's start.
        known: (module, name) of the globals that may occur.

    Raises:
        FormatError: Not a pickle, damaged, or it asks for another name. Nothing was executed.
        ToolError: There is too little memory.
    """
    machine = _Machine(known)
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if count == MAX_OPERATIONS:
                raise FormatError(f"it takes more than {MAX_OPERATIONS:,} operations")
            if operation.name == "STOP":
                break
            machine.run(operation.name, argument)
        return machine.result()
    except MemoryError as err:
        raise ToolError(getattr(file, "name", "a pickle"), TOO_LITTLE_MEMORY) from err
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError) as err:
        raise FormatError(f"damaged ({err or type(err).__name__})") from err


def to_array(value: Any) -> NDArray[Any]:
    """A pickled array or scalar of NumPy, of numbers.

    Raises:
        FormatError: It is something else.
    """
    if isinstance(value, Call) and value.function == "scalar" and len(value.arguments) == 2:
        dtype, data = value.arguments
        shape: Any = ()
        is_fortran = False
    elif (
        isinstance(value, Call)
        and value.function in ("_reconstruct", "ndarray")
        and isinstance(value.state, tuple)
        and len(value.state) == 5
    ):
        _, shape, dtype, is_fortran, data = value.state
    else:
        raise FormatError("not an array")
    if not isinstance(data, bytes):
        raise FormatError("an array holds something else than numbers")
    kind = _dtype(dtype)
    if not (isinstance(shape, tuple) and all(type(side) is int and 0 <= side <= len(data) for side in shape)):
        raise FormatError("the shape of an array is damaged")
    try:
        return np.frombuffer(data, kind).reshape(shape, order="F" if is_fortran else "C")
    except ValueError as err:
        raise FormatError(f"an array does not have the bytes of its shape ({err})") from err


def to_text(value: Any) -> str:
    """Text, as Python 2 or 3 wrote it.

    Raises:
        FormatError: It is something else.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise FormatError(f"text is expected, not {type(value).__name__}")
    return value


def _dtype(value: Any) -> np.dtype[Any]:
    if not (isinstance(value, Call) and value.function == "dtype" and value.arguments):
        raise FormatError("an array has no type")
    code, state = value.arguments[0], value.state
    code = code.decode("latin1") if isinstance(code, bytes) else code
    if not isinstance(code, str) or code not in NUMBERS:
        found = code[:40] if isinstance(code, str) else type(code).__name__
        raise FormatError(f"an array has the type {found!r}: numbers are expected")
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "<"
    return np.dtype(code).newbyteorder(">" if order in (">", b">") else "<")


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes of Python 3, which protocol 2 writes as text to be encoded again."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise FormatError("bytes are damaged")
    return text.encode("latin1")


class _Machine:
    """The stack machine; its operations are described in the standard library's `pickletools`."""

    def __init__(self, known: Collection[tuple[str, str]]) -> None:
        self._known = known
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, operation: str, argument: Any) -> None:
        """Do one operation."""
        if operation in _CONSTANTS:
            self._stack.append(_CONSTANTS[operation])
        elif operation in _LITERALS:
            self._stack.append(argument)
        elif operation in _OLD_STRINGS:
            self._stack.append(argument.encode("latin1"))
        else:
            step = _STEPS.get(operation)
            if step is None:
                raise FormatError(f"it has the operation {operation}, which plain data do not need")
            step(self, argument)

    def result(self) -> Any:
        """What is left at the end."""
        if len(self._stack) != 1 or self._marks:
            raise FormatError("damaged (it does not end in one object)")
        return self._stack[0]

    def _pop(self) -> Any:
        if self._marks and len(self._stack) <= self._marks[-1]:
            raise IndexError("the stack is empty")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _empty_list(self, _: Any) -> None:
        self._stack.append([])

    def _empty_dict(self, _: Any) -> None:
        self._stack.append({})

    def _empty_tuple(self, _: Any) -> None:
        self._stack.append(())

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _tuple1(self, _: Any) -> None:
        self._stack.append((self._pop(),))

    def _tuple2(self, _: Any) -> None:
        second, first = self._pop(), self._pop()
        self._stack.append((first, second))

    def _tuple3(self, _: Any) -> None:
        third, second, first = self._pop(), self._pop(), self._pop()
        self._stack.append((first, second, third))

    def _list(self, _: Any) -> None:
        self._stack.append(self._pop_to_mark())

    def _dict(self, _: Any) -> None:
        items = self._pop_to_mark()
        self._stack.append({})
        self._set(items)

    def _append(self, _: Any) -> None:
        item = self._pop()
        self._top(list).append(item)

    def _appends(self, _: Any) -> None:
        items = self._pop_to_mark()
        self._top(list).extend(items)

    def _setitem(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _setitems(self, _: Any) -> None:
        self._set(self._pop_to_mark())

    def _set(self, items: list[Any]) -> None:
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | bytes | int | float | None):
                # The hash of a tuple goes as deep, and as often, as a file likes.
                raise FormatError(f"a dictionary has a key that is a {type(key).__name__}")
            target[key] = value

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            raise FormatError(f"damaged (something else than a {kind.__name__} is filled)")
        return self._stack[-1]

    def _put(self, number: int) -> None:
        self._memo[number] = self._stack[-1]

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, number: int) -> None:
        self._stack.append(self._memo[number])

    def _pop_one(self, _: Any) -> None:
        self._pop()

    def _pop_mark(self, _: Any) -> None:
        self._pop_to_mark()

    def _dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push_global(module, name)

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._push_global(to_text(module), to_text(name))

    def _push_global(self, module: str, name: str) -> None:
        if (module, name) not in self._known:
            raise FormatError(f"it asks for {module[:60]}.{name[:60]}; nothing was executed")
        self._stack.append(Global(module, name))

    def _call(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise FormatError("damaged (a call of something that is no function)")
        if function.name == "encode":
            self._stack.append(_encoded(*arguments))
        else:
            self._stack.append(Call(function.name, arguments))

    def _build(self, _: Any) -> None:
        state = self._pop()
        self._top(Call).state = state

    def _nothing(self, _: Any) -> None:
        pass


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_OLD_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine._mark,
    "EMPTY_LIST": _Machine._empty_list,
    "EMPTY_DICT": _Machine._empty_dict,
    "EMPTY_TUPLE": _Machine._empty_tuple,
    "TUPLE": _Machine._tuple,
    "TUPLE1": _Machine._tuple1,
    "TUPLE2": _Machine._tuple2,
    "TUPLE3": _Machine._tuple3,
    "LIST": _Machine._list,
    "DICT": _Machine._dict,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._setitem,
    "SETITEMS": _Machine._setitems,
    "PUT": _Machine._put,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "MEMOIZE": _Machine._memoize,
    "GET": _Machine._get,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "POP": _Machine._pop_one,
    "POP_MARK": _Machine._pop_mark,
    "DUP": _Machine._dup,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._call,
    "NEWOBJ": _Machine._call,
    "BUILD": _Machine._build,
    "PROTO": _Machine._nothing,
    "FRAME": _Machine._nothing,
}
