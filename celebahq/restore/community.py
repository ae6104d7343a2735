"""Checkpoints that others have published: RRDBNet and SRVGG natively, everything else through spandrel.

Files are read as safetensors or with `weights_only=True`: nothing in them is executed.
"""

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from celebahq.errors import TOO_LITTLE_MEMORY, FormatError, MissingExtraError, ToolError
from celebahq.restore.community_networks import CommunityNetwork, RRDBNet, SpandrelNetwork, SrVgg
from celebahq.restore.ncnn import read_convolutions

Weights = Mapping[str, Tensor]


def load_community_network(path: Path) -> CommunityNetwork:
    """Read a published checkpoint: float32, on the CPU, in evaluation mode.

    Args:
        path: `.safetensors`, `.pth` or `.pt` of an RRDBNet (ESRGAN's or Real-ESRGAN's names) or an SRVGG with
            PReLUs, of anything that spandrel knows if it is installed, or an ncnn `.bin` of an RRDBNet with
            its `.param` beside it.

    Raises:
        FormatError: Damaged, not weights, or of an architecture that nobody here knows.
        MissingExtraError: An architecture for which spandrel is needed, which is not installed.
    """
    if path.suffix == ".bin":
        weights: Weights = rrdb_names(path, read_convolutions(path))
    else:
        weights = read_weights(path)
    with torch.random.fork_rng(devices=[]):  # the discarded initial weights must not move anybody's draws
        network = _network_for(path, weights)
    return network.eval().requires_grad_(False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint as float32; from a training checkpoint the averaged ones.

    Raises:
        FormatError: Not a readable file of tensors.
        ToolError: There is too little memory.
    """
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is wrong with the file is said below
                content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as err:
        raise ToolError(path, TOO_LITTLE_MEMORY) from err
    except Exception as err:  # readers of damaged files raise whatever they meet
        raise FormatError(path, "not a file of plain weights, or a damaged one") from err
    for name in ("params_ema", "params", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
            break
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise FormatError(path, "holds no table of weights")
    return {str(name): value.float() for name, value in content.items()}


def real_esrgan_names(weights: Weights) -> dict[str, Tensor]:
    """An RRDBNet's weights under Real-ESRGAN's names, whichever of its three naming schemes they came in."""
    if "model.0.weight" in weights:
        return _from_sequential_names(weights)
    renamed = {
        "RRDB_trunk.": "body.",
        "trunk_conv.": "conv_body.",
        "upconv": "conv_up",
        "HRconv.": "conv_hr.",
        "RDB": "rdb",
    }
    pattern = re.compile("|".join(re.escape(old) for old in renamed))
    return {pattern.sub(lambda m: renamed[m.group()], name): value for name, value in weights.items()}


def rrdb_names(path: Path, convolutions: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The convolutions of a 4x RRDBNet in the order of execution, as a table of weights."""
    blocks, rest = divmod(len(convolutions) - 6, 15)
    if rest or blocks < 1:
        raise FormatError(path, f"{len(convolutions)} convolutions are not those of an RRDBNet")
    names = [
        "conv_first",
        *(f"body.{b}.rdb{d}.conv{c}" for b in range(blocks) for d in range(1, 4) for c in range(1, 6)),
        "conv_body",
        "conv_up1",
        "conv_up2",
        "conv_hr",
        "conv_last",
    ]
    weights = {}
    for name, (weight, bias) in zip(names, convolutions, strict=True):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = weight, bias
    return weights


def _from_sequential_names(weights: Weights) -> dict[str, Tensor]:
    """From ESRGAN's first naming, `model.1.sub.0.RDB1.conv1.0.weight`, numbered by layer."""
    numbers = sorted(
        {int(match.group(1)) for name in weights if (match := re.match(r"model\.(\d+)\.w", name))}
    )
    tail = ["conv_first", *(f"conv_up{i + 1}" for i in range(len(numbers) - 3)), "conv_hr", "conv_last"]
    layer_names = {f"model.{number}.": f"{name}." for number, name in zip(numbers, tail, strict=True)}
    trunk = max(int(name.split(".")[3]) for name in weights if name.startswith("model.1.sub."))
    result = {}
    for name, value in weights.items():
        inner = re.fullmatch(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)", name)
        if inner:
            name = "body.{}.rdb{}.conv{}.{}".format(*inner.groups())
        elif name.startswith(f"model.1.sub.{trunk}."):
            name = f"conv_body.{name.rsplit('.', 1)[1]}"
        elif (layer := re.match(r"model\.\d+\.", name)) and layer.group() in layer_names:
            name = layer_names[layer.group()] + name[layer.end() :]
        result[name] = value
    return result


def _network_for(path: Path, weights: Weights) -> CommunityNetwork:
    """Build the network whose weights these are, and fill it."""
    network: RRDBNet | SrVgg
    try:
        named = real_esrgan_names(weights)
        if "body.0.rdb1.conv1.weight" in named:
            network = _rrdbnet_for(named)
        elif "body.1.weight" in named and named["body.1.weight"].ndim == 1:
            network = _srvgg_for(named)
        else:
            return _through_spandrel(path, weights)
        network.load_state_dict(named)
    except (RuntimeError, LookupError, ValueError, AttributeError):
        return _through_spandrel(path, weights)
    return network


def _rrdbnet_for(weights: Weights) -> RRDBNet:
    growth, channels = weights["body.0.rdb1.conv1.weight"].shape[:2]
    return RRDBNet(
        channels=channels,
        blocks=len({name.split(".")[1] for name in weights if name.startswith("body.")}),
        growth=growth,
        upsamplings=sum(bool(re.fullmatch(r"conv_up\d\.weight", name)) for name in weights),
        unshuffle=max(math.isqrt(weights["conv_first.weight"].shape[1] // 3), 1),
    )


def _srvgg_for(weights: Weights) -> SrVgg:
    last = len({name.split(".")[1] for name in weights}) - 1
    return SrVgg(
        channels=weights["body.0.weight"].shape[0],
        convolutions=last // 2 - 1,
        scale=max(math.isqrt(weights[f"body.{last}.weight"].shape[0] // 3), 1),
    )


def _through_spandrel(path: Path, weights: Weights) -> SpandrelNetwork:
    try:
        import spandrel
    except ImportError as err:
        if not any(value.ndim == 4 for value in weights.values()):
            raise FormatError(path, "holds no convolutions, so it is no network for pictures") from err
        raise MissingExtraError(
            "spandrel", "spandrel", f"{path}: an architecture other than RRDBNet and SRVGG"
        ) from err
    try:
        descriptor = spandrel.ModelLoader(device="cpu").load_from_state_dict(dict(weights))
    except Exception as err:  # spandrel's own kinds of error, and whatever a mismatch makes torch raise
        raise FormatError(path, "not the weights of an architecture that spandrel knows") from err
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or (
        descriptor.input_channels,
        descriptor.output_channels,
    ) != (3, 3):
        raise FormatError(path, "not a network from RGB to RGB pictures")
    return SpandrelNetwork(descriptor)
