"""torch-fidelity downloads its network, so a stand-in takes its place here."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from celebahq.errors import MissingExtraError
from swd import compare
from swd.method.protocol import Protocol
from swd.method.randomness import FAKES, REALS


@pytest.fixture
def calls(monkeypatch):
    """What the stand-in was asked; it answers like torch-fidelity 0.4."""
    asked = []

    def calculate_metrics(**options):
        sys.stdout.write("a remark")
        asked.append(options)
        found = {}
        if options["isc"]:
            found |= {"inception_score_mean": 2.5, "inception_score_std": 0.1}
        if options["fid"]:
            found |= {"frechet_inception_distance": 7.25}
        return found

    module = ModuleType("torch_fidelity")
    module.calculate_metrics = calculate_metrics
    monkeypatch.setitem(sys.modules, "torch_fidelity", module)
    return asked


def test_both_sides_images_are_handed_over(calls, reals, fakes, capsys):
    fidelity = compare(reals.h5, fakes.zip, metrics=["fid", "is"], device="cpu").rows[0].fidelity
    assert (fidelity.fid, fidelity.inception_score, fidelity.inception_score_std) == (7.25, 2.5, 0.1)
    (options,) = calls
    for key, images, set_id in (("input1", fakes.images, FAKES), ("input2", reals.images, REALS)):
        dataset = options[key]
        assert isinstance(dataset, torch.utils.data.Dataset)
        chosen = Protocol(20, 32).choose(len(images), set_id)
        assert len(dataset) == 20
        np.testing.assert_array_equal(dataset[3].numpy(), images[chosen[3]])
        assert dataset[3].dtype == torch.uint8
    assert not options["cuda"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a remark" in captured.err


def test_only_what_was_asked_is_computed(calls, reals, fakes):
    fidelity = compare(reals.h5, fakes.h5, metrics=["is"], device="cpu").rows[0].fidelity
    assert calls[0]["isc"]
    assert not calls[0]["fid"]
    assert fidelity.fid is None


def test_without_the_extra_the_remedy_is_said_before_the_work(monkeypatch, reals, fakes):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'celebahq-toolkit\[fidelity\]'"):
        compare(reals.h5, [fakes.h5], metrics=["swd", "fid"])
