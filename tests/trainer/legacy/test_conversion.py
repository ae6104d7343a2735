"""Network pickles of the TensorFlow program, made here, against TensorFlow's operations in NumPy."""

import os
import pickle
import sys
import types

import numpy as np
import pytest
import tensorflow_reference as tf
import torch
from click.testing import CliRunner

from celebahq.errors import FormatError, ToolError
from trainer.cli import main
from trainer.legacy.conversion import load_legacy_pickle
from trainer.networks.layers import downscale2d, upscale2d
from trainer.use.snapshot import load_snapshot

RESOLUTION, WIDTH, LATENTS, LABELS = 16, 5, 7, 2


@pytest.fixture
def network_class(monkeypatch):
    """A class that pickles as the original's does."""
    module = types.ModuleType("tfutil")
    module.Network = type("Network", (), {"__module__": "tfutil", "__qualname__": "Network"})
    monkeypatch.setitem(sys.modules, "tfutil", module)
    return module.Network


def make_network(network_class, function, variables, **options):
    network = network_class()
    network.__dict__ = {
        "version": 2,
        "name": function[0],
        "static_kwargs": options,
        "build_module_src": "raise SystemExit('the source in the pickle was executed')",
        "build_func_name": function,
        "variables": [("lod", np.float32(1.0)), *variables.items()],
    }
    return network


@pytest.fixture
def original(network_class):
    """Variables of G and D, and the objects to pickle."""

    def make(*, fused=True, label_size=LABELS):
        rng = np.random.default_rng(0)
        sizes = (RESOLUTION, WIDTH, LATENTS, label_size)
        (G, D), (Gs, _) = (tf.random_variables(rng, *sizes, fused=fused) for _ in range(2))
        options = {"num_channels": 3, "resolution": RESOLUTION, "fmap_base": 4096, "fmap_max": WIDTH}
        options |= {"label_size": label_size, "fused_scale": fused}
        networks = (
            make_network(network_class, "G_paper", G, latent_size=LATENTS, **options),
            make_network(network_class, "D_paper", D, mbstd_group_size=4, dtype="float32", **options),
            make_network(network_class, "G_paper", Gs, latent_size=LATENTS, **options),
        )
        return networks, (G, D, Gs)

    return make


def write(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("lod", [0.0, 0.3, 1.6])
def test_imported_networks_compute_what_tensorflow_defines(tmp_path, original, lod, fused):
    networks, (G, D, Gs) = original(fused=fused)
    imported = load_legacy_pickle(write(tmp_path / "karras.pkl", networks))
    rng = np.random.default_rng(1)
    latents, labels = rng.standard_normal((8, LATENTS)), np.eye(LABELS)[np.arange(8) % LABELS]
    for variables, network in ((G, imported.generator), (Gs, imported.averaged)):
        images = network.double()(torch.from_numpy(latents), torch.from_numpy(labels), lod)
        for _ in range(int(lod)):
            images = upscale2d(images)
        expected = tf.generate(variables, latents, labels, lod, RESOLUTION, fused=fused)
        np.testing.assert_allclose(images.numpy(), expected, rtol=1e-9, atol=1e-9)
    pictures = rng.standard_normal((8, 3, RESOLUTION, RESOLUTION))
    small = torch.from_numpy(pictures)
    for _ in range(int(lod)):
        small = downscale2d(small)
    outputs = torch.cat(imported.discriminator.double()(small, lod), dim=1)
    expected = tf.judge(D, pictures, lod, RESOLUTION, group=4, fused=fused)
    np.testing.assert_allclose(outputs.numpy(), expected, rtol=1e-9, atol=1e-9)
    assert imported.lod == 1.0


def test_the_command_makes_a_snapshot(tmp_path, original):
    networks, (_, _, Gs) = original(label_size=0)
    path, out = write(tmp_path / "karras.pkl", networks), tmp_path / "karras.safetensors"
    result = CliRunner().invoke(main, ["import", str(path), "-o", str(out)])
    assert result.exit_code == 0, result.output
    snapshot = load_snapshot(out)
    latents = np.random.default_rng(1).standard_normal((2, LATENTS)).astype(np.float32)
    images = upscale2d(snapshot.generator(torch.from_numpy(latents), lod=snapshot.lod))  # lod is 1
    expected = tf.generate(Gs, latents, np.zeros((2, 0)), 1.0, RESOLUTION, fused=True)
    np.testing.assert_allclose(images.numpy(), expected, rtol=1e-3, atol=1e-3)
    assert snapshot.generate(0, [0]).shape == (1, 3, 8, 8)


def test_the_command_refuses_what_is_no_pickle(tmp_path):
    path = tmp_path / "karras.pkl"
    path.write_bytes(b"\x89PNG")
    result = CliRunner().invoke(main, ["import", str(path), "-o", str(tmp_path / "out.safetensors")])
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("array_module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_every_protocol_and_numpy_version_is_read(tmp_path, original, protocol, array_module):
    networks, (_, _, Gs) = original(label_size=0)
    data = pickle.dumps(networks, protocol)
    if protocol < 4:  # names are lines of text; protocol 4 counts their bytes
        data = data.replace(b"numpy._core.multiarray", array_module)
    (tmp_path / "karras.pkl").write_bytes(data)
    imported = load_legacy_pickle(tmp_path / "karras.pkl")
    kernel = imported.averaged.state_dict()["blocks.8.conv1.weight"]
    np.testing.assert_array_equal(kernel.permute(2, 3, 1, 0), Gs["8x8/Conv1/weight"])


class _Bomb:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch executed",), "posix.system"),
        (eval, ("open('executed', 'w')",), "builtins.eval"),
        (np.load, ("executed",), "numpy.load"),
        (np.frombuffer, (b"1234",), "numpy.frombuffer"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_is_executed(tmp_path, monkeypatch, original, function, arguments, name, protocol):
    monkeypatch.chdir(tmp_path)
    networks, _ = original()
    networks[0].static_kwargs["resolution"] = _Bomb(function, *arguments)
    path = write(tmp_path / "hostile.pkl", networks, max(protocol, 2))
    with pytest.raises(
        FormatError, match=r"hostile.pkl: not a network pickle: it asks for .*; nothing was executed"
    ):
        load_legacy_pickle(path)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_truncated_pickle_is_refused_wherever_it_ends(tmp_path, original):
    data = write(tmp_path / "whole.pkl", original()[0]).read_bytes()
    path = tmp_path / "cut.pkl"
    for end in (0, 1, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:end])
        with pytest.raises(FormatError, match=r"cut.pkl: "):
            load_legacy_pickle(path)


def test_flipped_bytes_give_one_line_or_other_numbers(tmp_path, original):
    data = bytearray(write(tmp_path / "whole.pkl", original()[0]).read_bytes())
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.pkl"
    messages = []
    for position in rng.choice(600, 150, replace=False):  # where the structure is, not the weights
        damaged = data.copy()
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            load_legacy_pickle(path)
        except ToolError as err:  # a length that is damaged may be one that no memory holds
            messages.append(str(err))
    assert len(messages) > 50
    assert all(message.startswith(f"{path}: ") and "\n" not in message for message in messages)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda G, D, Gs: [G, D, Gs], "a tuple \\(G, D, Gs\\) is expected"),
        (lambda G, D, Gs: (G, D), "a tuple \\(G, D, Gs\\) is expected"),
        (lambda G, D, Gs: (G, D, "x"), "an object of tfutil.Network"),
        (lambda G, D, Gs: (D, G, Gs), "built by 'D_paper', where G_paper is expected"),
        (lambda G, D, Gs: (with_option(G, surprise=1), D, Gs), "unknown option surprise=1"),
        (
            lambda G, D, Gs: (with_option(G, resolution="8"), D, Gs),
            "G_paper.resolution = '8': must be an integer",
        ),
        (lambda G, D, Gs: (with_option(G, pixelnorm_epsilon=1e-4), D, Gs), "only 1e-8 is supported"),
        (lambda G, D, Gs: (with_option(G, resolution=32), D, Gs), "not those of the published networks"),
        (lambda G, D, Gs: (with_variable(G, "8x8/Conv7/weight", np.zeros(1)), D, Gs), "8x8/Conv7/weight"),
        (
            lambda G, D, Gs: (with_variable(G, "lod", np.array(["x"])), D, Gs),
            "type 'U1': numbers are expected",
        ),
        (
            lambda G, D, Gs: (with_variable(G, "lod", np.array(1)), D, Gs),
            "type int64: floating point is expected",
        ),
        (lambda G, D, Gs: (with_variable(G, "lod", np.array([{}])), D, Gs), "something else than numbers"),
        (lambda G, D, Gs: (with_variable(G, "lod", 1.0), D, Gs), "a variable is not an array"),
        (lambda G, D, Gs: (G, D, with_variable(Gs, "lod", np.zeros(2))), "lod is not one number"),
        (
            lambda G, D, Gs: (with_option(G, fmap_max=10**12, fmap_base=10**12), D, Gs),
            "not those of the published",
        ),
    ],
)
def test_another_structure_is_refused_with_what_is_wrong(tmp_path, original, change, message):
    path = write(tmp_path / "other.pkl", change(*original()[0]))
    with pytest.raises(FormatError, match=message) as error:
        load_legacy_pickle(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def with_option(network, **options):
    network.static_kwargs = {**network.static_kwargs, **options}
    return network


def with_variable(network, name, value):
    network.variables = [*network.variables, (name, value)]
    return network
