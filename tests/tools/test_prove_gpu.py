"""The rehearsal of `tools/prove_gpu.py` on a CPU."""

import json

import prove_gpu
import pytest
from click.testing import CliRunner

# Those that start no processes of their own, which take a minute each on a busy machine.
PARTS = tuple(
    getattr(prove_gpu, name)
    for name in ("gradients", "waits", "memory", "distance", "restoration", "profile", "speed")
)


@pytest.fixture(scope="module")
def proof(tmp_path_factory):
    outdir = tmp_path_factory.mktemp("proof") / "proof"
    with pytest.MonkeyPatch.context() as patch:

        def fail(proof):
            raise ValueError("as an example")

        patch.setattr(prove_gpu, "PARTS", (fail, *PARTS))
        arguments = ["--outdir", str(outdir), "--device", "cpu", "--small", "--seconds", "3600"]
        result = CliRunner().invoke(prove_gpu.main, arguments)
    assert result.exit_code == 1, result.output  # a part has failed
    return outdir


@pytest.mark.slow
def test_one_failing_part_does_not_lose_the_others(proof):
    results = json.loads((proof / "proof.json").read_text())
    assert "ValueError: as an example" in results["fail"]["failed"]
    assert [part.__name__ for part in PARTS if "failed" in results[part.__name__]] == []
    assert results["gradients"]["fp32"] == {"relative distance": 0.0, "cosine": pytest.approx(1)}
    assert {"8 fp32", "16 bf16 NHWC"} <= results["speed"].keys()
    assert "skipped" in results["waits"]
    assert "## restoration" in (proof / "proof.md").read_text()
    assert "aten::" in (proof / "profile.txt").read_text()


def test_without_time_a_part_is_skipped():
    assert prove_gpu.attempt(prove_gpu.speed, None, deadline=0.0) == {"skipped": "no time left"}
