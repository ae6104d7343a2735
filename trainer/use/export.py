"""The averaged generator for other programs: its weights, a PyTorch program, an ONNX model."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from celebahq.errors import MissingExtraError, ToolError
from celebahq.files import atomic_path, refuse_existing
from trainer.use.snapshot import Snapshot


class FixedLod(nn.Module):
    """The generator at one level of detail: latents (and labels) to images."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.generator, self.lod = snapshot.generator, snapshot.lod
        self.eval()

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """`[N, latent_size]` to `[N, C, r, r]` float32, -1 .. 1."""
        images: Tensor = self.generator(latents, labels, self.lod)
        return images


def export_generator(snapshot: Snapshot, out: Path, *, overwrite: bool = False) -> None:
    """Write the generator in the form that the ending of the name stands for: one of `FORMS`.

    Raises:
        ToolError: `out` exists and is not to be replaced, or has another ending.
        MissingExtraError: ONNX models need the extra `onnx`.
    """
    if out.suffix not in FORMS:
        raise ToolError(
            out, "the ending must be .safetensors (weights), .pt2 (PyTorch program) or .onnx (ONNX model)"
        )
    refuse_existing(out, overwrite=overwrite)
    content = FORMS[out.suffix](snapshot)
    with atomic_path(out) as partial:
        partial.write_bytes(content)


def weights(snapshot: Snapshot) -> bytes:
    """The generator's tensors, by their names in it."""
    return save(snapshot.generator.state_dict())


def program(snapshot: Snapshot) -> bytes:
    """The file of a `torch.export` program; needs PyTorch alone to be loaded."""
    given = _example(snapshot)
    batch = torch.export.Dim("batch")
    buffer = io.BytesIO()
    with _quiet():
        exported = torch.export.export(
            FixedLod(snapshot), tuple(given.values()), dynamic_shapes={name: {0: batch} for name in given}
        )
        torch.export.save(exported, buffer)
    return buffer.getvalue()


def onnx_model(snapshot: Snapshot) -> bytes:
    """An ONNX model: inputs `latents` and, of a conditional network, `labels`; output `images`."""
    if find_spec("onnxscript") is None:
        raise MissingExtraError("onnxscript", "onnx", "trainer export to ONNX")
    given = _example(snapshot)
    dynamic: dict[str, Any] = {name: {0: "batch"} for name in given}
    with _quiet():
        exported = torch.onnx.export(
            FixedLod(snapshot),
            tuple(given.values()),
            dynamo=True,
            dynamic_shapes=dynamic,
            input_names=list(given),
            output_names=["images"],
            verbose=False,
        )
    assert exported is not None
    model: bytes = exported.model_proto.SerializeToString()
    return model


FORMS = {".safetensors": weights, ".pt2": program, ".onnx": onnx_model}


def _example(snapshot: Snapshot) -> dict[str, Tensor]:
    """Two images' inputs by name: tracing takes a number other than 0 and 1 for one of many."""
    inputs = {"latents": snapshot.latents(0, range(2)), "labels": snapshot.labels(0, range(2))}
    return {name: tensor for name, tensor in inputs.items() if tensor is not None}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what PyTorch's exporters say about their own code and about packages not installed."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
