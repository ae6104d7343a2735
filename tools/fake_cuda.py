"""A CUDA device without one: tensors with shapes and devices but no numbers, and what would wait for it.

For checks that a program keeps its tensors together, and for counting: what it does on a GPU is all there,
autograd included, but for the results.
"""

import ctypes
import functools
import mmap
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda", 0)
SUPPORTED = platform.system() == "Linux" and platform.machine() == "x86_64"


class Moves(TorchFunctionMode):
    """Copies between this process and the device, which a PyTorch without CUDA does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note what waits; make a tensor of the device from one that is not there."""
        name = getattr(func, "__name__", "")
        if name in ("cpu", "numpy") and args[0].device.type == "cuda":
            self.waits.append(name)
        if func is Tensor.to and args[0].device.type == "cpu" and _names_cuda((*args[1:], kwargs)):
            if not (kwargs or {}).get("non_blocking"):
                self.waits.append("to")
            return torch.empty_strided(args[0].shape, args[0].stride(), dtype=args[0].dtype, device=CUDA)
        return func(*args, **(kwargs or {}))


def _names_cuda(values: tuple[Any, ...]) -> bool:
    named = [v.get("device") if isinstance(v, dict) else v for v in values]
    return any(isinstance(v, str | torch.device) and torch.device(v).type == "cuda" for v in named)


class Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Numbers that the process asks the device for: each is 1."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer a question; pass everything else on."""
        if func is torch.ops.aten._local_scalar_dense.default:
            if args[0].device.type == "cuda":
                self.waits.append("item")
            return 1
        return func(*args, **(kwargs or {}))


class FakeCuda:
    """What happened on the device."""

    def __init__(self) -> None:
        self.moves, self.reads = Moves(), Reads()

    @property
    def waits(self) -> list[str]:
        """Each time that the process waited for the device."""
        return self.moves.waits + self.reads.waits


AUTOCAST = (  # would switch itself off where there is no GPU
    patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False),
    patch("torch.cuda.is_bf16_supported", lambda: True),
)


@contextmanager
def fake_cuda() -> Iterator[FakeCuda]:
    """Inside, `CUDA` is a device, and nothing is computed; the process should do nothing else afterwards."""
    assert SUPPORTED
    if not torch.cuda.is_available():
        pretend_cuda_is_built()
    device = FakeCuda()
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with warnings.catch_warnings(), patch.object(nn.Module, "_apply", convert), fake:
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # when it is copied
        with AUTOCAST[0], AUTOCAST[1], device.reads, device.moves:
            yield device


def leave() -> None:
    """End the process at once: PyTorch's own end would look for the devices that are not there."""
    sys.stdout.flush()
    os._exit(0)


def convert(module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """In place of `Module._apply`, which wants to swap tensors that cannot be swapped."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                value = function(parameter.detach())
                part._parameters[name] = nn.Parameter(value, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else function(buffer)
    return module


POINTER = ctypes.sizeof(ctypes.c_void_p)
BEFORE = 2  # entries about the object's type stand before its functions
SLOTS = 100  # of a table of virtual functions, and to spare
ONE = bytes.fromhex("b801000000 c3")  # mov eax, 1; ret: true, or the type CUDA
ZERO = bytes.fromhex("31c0 c3")  # xor eax, eax; ret: false
DEFAULT_STREAM = bytes.fromhex("48c7c001000000 4831d2 c3")  # device (CUDA, 0) in rax, stream 0 in rdx


@functools.cache
def pretend_cuda_is_built() -> list[Any]:
    """Let autograd work on CUDA devices where PyTorch was built without CUDA.

    Two objects inside PyTorch get other functions, until the process ends. What switches between CUDA's
    devices becomes that of tensors without numbers (device `meta`), which does nothing; but it is of type
    CUDA, by which autograd knows it, and has one stream. And PyTorch says that it was built with CUDA.

    Returns:
        What must not be freed.
    """
    libraries = Path(torch.__file__).parent / "lib"
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    first_byte = ctypes.c_char.from_buffer(code)
    one, zero, get_stream = (ctypes.addressof(first_byte) + 16 * place for place in range(3))
    for place, function in enumerate((ONE, ZERO, DEFAULT_STREAM)):
        code[16 * place : 16 * place + len(function)] = function

    cuda, meta = 1, 14  # as PyTorch numbers its kinds of devices
    registry = "_ZN3c104impl26device_guard_impl_registryE"
    guards = (ctypes.c_void_p * (meta + 1)).in_dll(ctypes.CDLL(str(libraries / "libc10.so")), registry)
    guard_functions = overriding(guards[meta], {0: one, 5: get_stream})
    guard = ctypes.c_void_p(first_function(guard_functions))
    guards[cuda] = ctypes.addressof(guard)

    get_hooks = ctypes.CDLL(str(libraries / "libtorch_cpu.so"))._ZN2at6detail12getCUDAHooksEv
    get_hooks.restype = ctypes.c_void_p
    hooks = get_hooks()
    hooks_functions = overriding(hooks, {2: one, 4: zero})  # isBuilt(), hasPrimaryContext()
    ctypes.c_void_p.from_address(hooks).value = first_function(hooks_functions)
    return [code, first_byte, guard, guard_functions, hooks_functions]


def overriding(address: Any, replaced: dict[int, int]) -> Any:
    """The virtual functions of the C++ object at an address, with some of them replaced, by place."""
    functions: Any = ctypes.c_void_p.from_address(address).value
    whole = (ctypes.c_void_p * SLOTS).from_address(functions - BEFORE * POINTER)
    table = (ctypes.c_void_p * SLOTS).from_buffer_copy(whole)
    for slot, function in replaced.items():
        table[BEFORE + slot] = function
    return table


def first_function(table: Any) -> int:
    """Where an object points that has the functions of a table."""
    return ctypes.addressof(table) + BEFORE * POINTER
