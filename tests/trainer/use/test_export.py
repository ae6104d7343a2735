"""What was exported makes the snapshot's images, in other programs."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import tiny_config

from celebahq.errors import MissingExtraError, ToolError
from trainer.networks.models import build_generator
from trainer.use import export
from trainer.use.export import FORMS, export_generator
from trainer.use.snapshot import Snapshot


def snapshot(lod: float = 0.0, labels: int = 0, **changes: object) -> Snapshot:
    """An untrained network for 16x16 pixels."""
    torch.manual_seed(0)
    sizes = {"resolution": 16, "latent_size": 8, "fmap_base": 64, "fmap_max": 8}
    config = tiny_config(
        generator={**sizes, "label_size": labels, **changes}, discriminator={"label_size": labels}
    )
    network = build_generator(config).eval().requires_grad_(False)
    return Snapshot(network, config, 0, lod, torch.eye(labels) if labels else None)


def inputs(made: Snapshot, count: int) -> dict[str, torch.Tensor]:
    given = {"latents": made.latents(1, range(count)), "labels": made.labels(1, range(count))}
    return {name: tensor for name, tensor in given.items() if tensor is not None}


def images_of(made: Snapshot, given: dict[str, torch.Tensor]) -> torch.Tensor:
    return made.generator(given["latents"], given.get("labels"), made.lod)


VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "fading": {"lod": 0.5},
    "grown to 8x8": {"lod": 1.0},
    "labels": {"labels": 3},
    "fused": {"fused_scale": True},
    "the paper's first row": {
        "use_wscale": False,
        "use_pixelnorm": False,
        "use_leakyrelu": False,
        "use_batchnorm": True,
        "use_tanh": True,
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_program_makes_the_same_images(variant: str, tmp_path: Path):
    made = snapshot(**VARIANTS[variant])
    export_generator(made, tmp_path / "G.pt2")
    loaded = torch.export.load(tmp_path / "G.pt2").module()
    for count in (1, 5):  # other numbers than it was traced with
        given = inputs(made, count)
        torch.testing.assert_close(loaded(*given.values()), images_of(made, given))


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_onnx_model_makes_the_same_images(variant: str, tmp_path: Path):
    made = snapshot(**VARIANTS[variant])
    export_generator(made, tmp_path / "G.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "G.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 5):
        given = inputs(made, count)
        shapes = {entry.name: entry.shape for entry in session.get_inputs()}
        assert shapes == {name: ["batch", tensor.shape[1]] for name, tensor in given.items()}
        (images,) = session.run(["images"], {name: tensor.numpy() for name, tensor in given.items()})
        # Other kernels, so float32 sums in another order, through some ten layers.
        np.testing.assert_allclose(images, images_of(made, given).numpy(), rtol=1e-4, atol=1e-4)


def test_weights_load_into_a_generator(tmp_path: Path):
    made = snapshot()
    export_generator(made, tmp_path / "G.safetensors")
    other = build_generator(made.config)
    other.load_state_dict(load_file(tmp_path / "G.safetensors"))
    for mine, theirs in zip(other.parameters(), made.generator.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_nothing_but_the_file_is_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    for form in FORMS:
        export_generator(snapshot(), tmp_path / f"G{form}")
    assert {path.suffix for path in tmp_path.iterdir()} == set(FORMS)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["G.pt", "G", "G.onnx.zip"])
def test_other_endings_are_refused_with_the_known_ones(name: str, tmp_path: Path):
    with pytest.raises(ToolError, match=rf"{name}: the ending must be .*\.safetensors.*\.pt2.*\.onnx"):
        export_generator(snapshot(), tmp_path / name)


def test_an_existing_file_is_kept(tmp_path: Path):
    (tmp_path / "G.pt2").write_text("mine")
    with pytest.raises(ToolError, match="exists"):
        export_generator(snapshot(), tmp_path / "G.pt2")
    assert (tmp_path / "G.pt2").read_text() == "mine"


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"celebahq-toolkit\[onnx\]"):
        export_generator(snapshot(), tmp_path / "G.onnx")
    assert not list(tmp_path.iterdir())
