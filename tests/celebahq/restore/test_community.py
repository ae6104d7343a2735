"""Published checkpoints are read under each of their names, and nothing in them is executed."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from celebahq import FormatError, MissingExtraError, ToolError
from celebahq.restore.community import (
    load_community_network,
    read_weights,
    real_esrgan_names,
)
from celebahq.restore.community_networks import RRDBNet, SpandrelNetwork, SrVgg
from celebahq.restore.infer import load_restorer


def rrdbnet(upsamplings=2, unshuffle=1, blocks=2) -> RRDBNet:
    torch.manual_seed(0)
    network = RRDBNet(channels=8, blocks=blocks, growth=4, upsamplings=upsamplings, unshuffle=unshuffle)
    return network.eval().requires_grad_(False)


def first_esrgan_names(weights: dict[str, Tensor], trunk: int) -> dict[str, Tensor]:
    """Numbered layers, as in ESRGAN's first files: the inverse of what is tested, for 0 to 2 enlargements."""
    enlargements = sum(name.startswith("conv_up") and name.endswith("weight") for name in weights)
    numbers = {"conv_first": 0, "conv_hr": 2 + 3 * enlargements, "conv_last": 4 + 3 * enlargements}
    numbers |= {f"conv_up{i + 1}": 3 + 3 * i for i in range(enlargements)}
    result = {}
    for name, value in weights.items():
        layer, kind = name.rsplit(".", 1)
        if layer.startswith("body."):
            _, block, dense, conv = layer.split(".")
            result[f"model.1.sub.{block}.{dense.upper()}.{conv}.0.{kind}"] = value
        elif layer == "conv_body":
            result[f"model.1.sub.{trunk}.{kind}"] = value
        else:
            result[f"model.{numbers[layer]}.{kind}"] = value
    return result


def second_esrgan_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    pairs = [("body.", "RRDB_trunk."), ("rdb", "RDB"), ("conv_body", "trunk_conv")]
    pairs += [("conv_up", "upconv"), ("conv_hr", "HRconv")]
    result = {}
    for name, value in weights.items():
        for new, old in pairs:
            name = name.replace(new, old)
        result[name] = value
    return result


def assert_same_network(found: nn.Module, expected: nn.Module) -> None:
    image = torch.rand(1, 3, 12, 8)
    torch.testing.assert_close(found(image), expected(image), rtol=0, atol=0)


@pytest.mark.parametrize("wrapper", [None, "params", "params_ema", "state_dict"])
def test_real_esrgan_files_are_read_bare_or_wrapped(tmp_path: Path, wrapper):
    network = rrdbnet()
    path = tmp_path / "a.pth"
    weights = network.state_dict()
    torch.save({wrapper: weights, "step": 3} if wrapper else weights, path)
    found = load_community_network(path)
    assert found.scale == 4
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert_same_network(found, network)


def test_the_averaged_weights_are_preferred(tmp_path: Path):
    weights = rrdbnet().state_dict()
    torch.save({"params": {k: v * 0 for k, v in weights.items()}, "params_ema": weights}, tmp_path / "a.pth")
    assert_same_network(load_community_network(tmp_path / "a.pth"), rrdbnet())


@pytest.mark.parametrize(("upsamplings", "scale"), [(0, 1), (1, 2), (2, 4)])
def test_esrgans_numbered_layers_are_understood_at_every_scale(tmp_path: Path, upsamplings, scale):
    network = rrdbnet(upsamplings)
    save_file(first_esrgan_names(network.state_dict(), trunk=2), tmp_path / "a.safetensors")
    found = load_community_network(tmp_path / "a.safetensors")
    assert found.scale == scale
    assert_same_network(found, network)


def test_esrgans_own_names_are_understood(tmp_path: Path):
    network = rrdbnet()
    old = second_esrgan_names(network.state_dict())
    assert "RRDB_trunk.0.RDB1.conv1.weight" in old
    assert set(real_esrgan_names(old)) == set(network.state_dict())
    save_file(old, tmp_path / "a.safetensors")
    assert_same_network(load_community_network(tmp_path / "a.safetensors"), network)


@pytest.mark.parametrize(("unshuffle", "scale"), [(2, 2), (4, 1)])
def test_folded_networks_enlarge_less_and_need_even_sizes(tmp_path: Path, unshuffle, scale):
    save_file(rrdbnet(2, unshuffle).state_dict(), tmp_path / "a.safetensors")
    restorer = load_restorer(tmp_path / "a.safetensors")
    assert (restorer.scale, restorer.network.multiple) == (scale, unshuffle)
    photo = np.random.default_rng(0).integers(0, 256, (21, 35, 3), np.uint8)
    assert restorer(photo).shape == (21 * scale, 35 * scale, 3)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_srvgg_is_read_and_its_tiles_equal_the_whole(tmp_path: Path, scale):
    torch.manual_seed(0)
    network = SrVgg(channels=8, convolutions=3, scale=scale).eval().requires_grad_(False)
    torch.save({"params": network.state_dict()}, tmp_path / "a.pth")
    assert_same_network(load_community_network(tmp_path / "a.pth"), network)
    restorer = load_restorer(tmp_path / "a.pth")
    restorer.dtype = torch.float32
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    whole = restorer(photo)
    restorer.tile_px = 16
    np.testing.assert_array_equal(restorer(photo), whole)


def write_ncnn(folder: Path, network: RRDBNet, name: str = "net") -> Path:
    """The convolutions in ncnn's two files, in the order in which the network runs them."""
    lines, content = ["7767517", "0 0", "Input input 0 1 data"], b""
    for layer in [module for module in network.modules() if isinstance(module, nn.Conv2d)]:
        weight = layer.weight.numpy()
        lines.append(
            f"Convolution c 1 1 a b 0={weight.shape[0]} 1=3 4=1 5=1 6={weight.size} 9=2 -23310=1,2.000000e-01"
        )
        half = weight.astype("<f2").tobytes()
        content += 0x01306B47.to_bytes(4, "little") + half + bytes(-len(half) % 4)
        content += layer.bias.numpy().astype("<f4").tobytes()
    (folder / f"{name}.param").write_text("\n".join([*lines, "Split s 1 2 a b c", ""]))
    (folder / f"{name}.bin").write_bytes(content)
    return folder / f"{name}.bin"


def test_an_rrdbnet_stored_for_ncnn_is_read(tmp_path: Path):
    network = rrdbnet()
    found = load_community_network(write_ncnn(tmp_path, network))
    for name, weight in network.state_dict().items():
        tolerance = {"rtol": 0, "atol": 0} if name.endswith("bias") else {"rtol": 1e-3, "atol": 1e-7}
        torch.testing.assert_close(found.state_dict()[name], weight, **tolerance)


def test_damaged_ncnn_files_are_described(tmp_path: Path):
    path = write_ncnn(tmp_path, rrdbnet())
    content = path.read_bytes()
    for damaged, message in ((content[:-9], "ends early"), (content + b"1234", "4 bytes more")):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=message):
            load_community_network(path)
    text = path.with_suffix(".param").read_text()
    for sizes in ("0=4 1=31", "0=0 1=3", "0=4 1=-3", "0=99999 1=3"):
        path.with_suffix(".param").write_text(re.sub("0=[0-9]+ 1=3", sizes, text, count=1))
        with pytest.raises(FormatError, match=r"net\.param: a convolution of \d+ weights"):
            load_community_network(path)
    path.with_suffix(".param").write_text("something else")
    with pytest.raises(FormatError, match=r"not an ncnn \.param"):
        load_community_network(path)
    path.with_suffix(".param").unlink()
    with pytest.raises(ToolError, match=r"must lie beside net\.bin"):
        load_community_network(path)


def test_an_ncnn_file_enlarges(tmp_path: Path):
    write_ncnn(tmp_path, rrdbnet(), "net")
    restorer = load_restorer(tmp_path / "net.bin")
    assert restorer.scale == 4
    assert restorer(np.zeros((5, 7, 3), np.uint8)).shape == (20, 28, 3)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_files_with_code_are_refused_unexecuted(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"params": Evil()}, "evil.pth")
    with pytest.raises(FormatError, match=r"evil\.pth: not a file of plain weights"):
        load_restorer("evil.pth")
    assert not Path("executed").exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"no weights", b"PK\x03\x04 broken"])
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_damaged_files_are_named(tmp_path: Path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=f"{name}: not a file of plain weights"):
        load_restorer(tmp_path / name)


def test_files_without_weights_are_named(tmp_path: Path):
    torch.save([1, 2], tmp_path / "a.pth")
    with pytest.raises(FormatError, match="no table of weights"):
        read_weights(tmp_path / "a.pth")


def test_other_architectures_need_spandrel(tmp_path: Path, monkeypatch):
    save_file({"layers.0.weight": torch.zeros(3, 3, 3, 3)}, tmp_path / "swin.safetensors")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(
        MissingExtraError, match=r"swin.safetensors.*pip install 'celebahq-toolkit\[spandrel\]'"
    ):
        load_restorer(tmp_path / "swin.safetensors")


@pytest.mark.parametrize(
    "names",
    [
        ["model.0.weight", "model.2.weight"],
        ["undotted", "body.0.weight", "body.1.weight"],
        ["model.0.weight"],
    ],
)
def test_names_that_only_look_known_are_like_any_other(tmp_path: Path, monkeypatch, names):
    weights = {name: torch.zeros(3 if name == "body.1.weight" else (3, 3, 3, 3)) for name in names}
    torch.save(weights, tmp_path / "a.pth")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(MissingExtraError):
        load_restorer(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "changed",
    [
        {"conv_first.weight": (8, 1, 3, 3), "conv_last.weight": (1, 8, 3, 3), "conv_last.bias": (1,)},  # grey
        {"conv_first.weight": (8, 3 * 8**2, 3, 3)},  # folded more than it enlarges
        {"body.99999999.rdb1.conv1.weight": (4, 8, 3, 3)},  # blocks that are not there
    ],
)
def test_rrdbnets_of_other_shapes_are_like_any_other_network(tmp_path: Path, monkeypatch, changed):
    weights = rrdbnet().state_dict() | {name: torch.zeros(shape) for name, shape in changed.items()}
    save_file(weights, tmp_path / "a.safetensors")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(MissingExtraError):
        load_restorer(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "changed", [{"body.8.weight": (1, 8, 3, 3)}, {"body.99999999.weight": (48, 8, 3, 3)}]
)
def test_srvggs_of_other_shapes_are_like_any_other_network(tmp_path: Path, monkeypatch, changed):
    weights = SrVgg(channels=8, convolutions=3, scale=4).state_dict()
    assert "body.8.weight" in weights
    weights |= {name: torch.zeros(shape) for name, shape in changed.items()}
    save_file(weights, tmp_path / "a.safetensors")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(MissingExtraError):
        load_restorer(tmp_path / "a.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float):
    weights = rrdbnet().state_dict()
    weights["conv_hr.bias"][3] = value
    save_file(weights, tmp_path / "a.safetensors")
    with pytest.raises(FormatError, match=r"a\.safetensors: holds weights that are no finite numbers"):
        load_restorer(tmp_path / "a.safetensors")


def test_tables_without_convolutions_are_no_networks(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    for number, weights in enumerate(({}, {"level16": torch.zeros(4, 147)})):
        torch.save(weights, tmp_path / f"{number}.pth")
        with pytest.raises(FormatError, match="holds no convolutions"):
            load_restorer(tmp_path / f"{number}.pth")


class Doubling(nn.Module):
    """What a stand-in for spandrel takes the weights for: twice the size, a little brighter."""

    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        self.shift = nn.Parameter(shift)

    def forward(self, image: Tensor) -> Tensor:
        return image.repeat_interleave(2, 2).repeat_interleave(2, 3) + self.shift


class Descriptor:
    def __init__(self, model: nn.Module, channels: int = 3) -> None:
        self.model, self.scale = model, 2
        self.input_channels = self.output_channels = channels
        self.size_requirements = types.SimpleNamespace(multiple_of=8)

    @torch.inference_mode()  # as spandrel's descriptors do: their results are not to be changed in place
    def __call__(self, image: Tensor) -> Tensor:
        assert image.shape[2] % 8 == image.shape[3] % 8 == 0
        return self.model(image)


class Loader:
    def __init__(self, device: str) -> None:
        assert device == "cpu"

    def load_from_state_dict(self, weights: dict[str, Tensor]) -> Descriptor:
        if "shift" not in weights:
            raise RuntimeError("unsupported")
        return Descriptor(Doubling(weights["shift"]), channels=int(weights["channels"]))


@pytest.fixture
def spandrel(monkeypatch):
    stand_in = types.ModuleType("spandrel")
    stand_in.ModelLoader = Loader
    stand_in.ImageModelDescriptor = Descriptor
    monkeypatch.setitem(sys.modules, "spandrel", stand_in)


@pytest.mark.usefixtures("spandrel")
def test_spandrels_networks_run_like_ours(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_file({"shift": torch.tensor(10 / 255), "channels": torch.tensor(3)}, path)
    restorer = load_restorer(path)
    assert isinstance(restorer.network, SpandrelNetwork)
    restorer.dtype = torch.float32
    photo = np.random.default_rng(0).integers(0, 200, (21, 30, 3), np.uint8)
    np.testing.assert_array_equal(restorer(photo), photo.repeat(2, axis=0).repeat(2, axis=1) + 10)


@pytest.mark.usefixtures("spandrel")
def test_what_spandrel_does_not_take_is_refused(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_file({"other": torch.zeros(1)}, path)
    with pytest.raises(FormatError, match="not the weights of an architecture"):
        load_restorer(path)
    save_file({"shift": torch.zeros(1), "channels": torch.tensor(1)}, path)
    with pytest.raises(FormatError, match="not a network from RGB to RGB"):
        load_restorer(path)
