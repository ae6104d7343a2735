"""The rehearsal of `tools/prove_gpu.py` on a CPU."""

import json

import prove_gpu
import pytest
from click.testing import CliRunner
from PIL import Image


@pytest.fixture(scope="module")
def proof(tmp_path_factory):
    outdir = tmp_path_factory.mktemp("proof") / "proof"
    with pytest.MonkeyPatch.context() as patch:

        def fail(proof):
            raise ValueError("as an example")

        patch.setattr(prove_gpu, "PARTS", (fail, *prove_gpu.PARTS))
        result = CliRunner().invoke(prove_gpu.main, ["--outdir", str(outdir), "--device", "cpu", "--small"])
    assert result.exit_code == 1, result.output  # a part has failed
    return outdir


@pytest.mark.slow
def test_one_failing_part_does_not_lose_the_others(proof):
    results = json.loads((proof / "proof.json").read_text())
    assert "ValueError: as an example" in results["fail"]["failed"]
    names = [part.__name__ for part in prove_gpu.PARTS]
    assert [name for name in names if "failed" in results[name]] == []
    assert results["kill_and_resume"]["equal"]
    assert results["gradients"]["fp32"] == {"relative distance": 0.0, "cosine": pytest.approx(1)}
    assert {"8 fp32", "16 bf16 NHWC"} <= results["speed"].keys()
    assert "skipped" in results["waits"]
    assert "## kill and resume" in (proof / "proof.md").read_text()
    assert "aten::" in (proof / "profile.txt").read_text()
    assert Image.open(proof / "untrained.png").size[0] > 0


def test_without_time_a_part_is_skipped():
    assert prove_gpu.attempt(prove_gpu.speed, None, deadline=0.0) == {"skipped": "no time left"}
