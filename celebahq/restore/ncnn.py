"""Convolution weights of networks stored for ncnn: a `.param` text and a `.bin` beside it.

The text has a magic number, two counts, and one line per layer:

    Convolution  Conv_0  1 1 data 703  0=64 1=3 4=1 5=1 6=1728

with 0 = output channels, 1 = kernel size, 6 = number of weights. The `.bin` holds, for each convolution in
the order of the lines, a 4-byte tag, fp16 weights padded to 4 bytes, and fp32 biases.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from celebahq.errors import FormatError, ToolError

MAGIC = "7767517"
FP16_TAG = 0x01306B47


def read_convolutions(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Weight `[out, in, k, k]` and bias `[out]` of every convolution, float32, in the order of execution.

    Args:
        path: The `.bin`.

    Raises:
        ToolError: The `.param` is not beside it.
        FormatError: Not such files, or other sizes than the `.param` announces.
    """
    param = path.with_suffix(".param")
    if not param.is_file():
        raise ToolError(param, f"not found; it must lie beside {path.name}, which it describes")
    lines = param.read_text(encoding="ascii", errors="replace").splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise FormatError(param, "not an ncnn .param text")
    content = path.read_bytes()
    offset = 0
    convolutions = []
    for line in lines[2:]:
        fields = line.split()
        if not fields or fields[0] != "Convolution":
            continue
        options = dict(field.split("=", 1) for field in fields if "=" in field)
        try:
            out, kernel, count = (int(options[key]) for key in ("0", "1", "6"))
        except (KeyError, ValueError) as err:
            raise FormatError(param, f"a convolution without sizes: {line[:80]}") from err
        if min(out, kernel, count) < 1 or count % (out * kernel**2):
            raise FormatError(
                param, f"a convolution of {count} weights, which its sizes do not give: {line[:80]}"
            )
        weight_bytes = -(-2 * count // 4) * 4
        end = offset + 4 + weight_bytes + 4 * out
        tag = int.from_bytes(content[offset : offset + 4], "little")
        if end > len(content) or tag != FP16_TAG:
            raise FormatError(path, f"ends early, or does not hold fp16 weights as {param.name} says")
        weight = np.frombuffer(content, "<f2", count, offset + 4)
        bias = np.frombuffer(content, "<f4", out, offset + 4 + weight_bytes)
        shape = (out, -1, kernel, kernel)
        convolutions.append(
            (torch.from_numpy(weight.astype(np.float32).reshape(shape)), torch.from_numpy(bias.copy()))
        )
        offset = end
    if offset != len(content):
        raise FormatError(path, f"{len(content) - offset} bytes more than {param.name} announces")
    return convolutions
