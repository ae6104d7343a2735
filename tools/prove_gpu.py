"""What a GPU proves and measures, in one call within eight minutes: JSON, a table, a profile, a picture.

    python tools/prove_gpu.py --outdir proof
    python tools/prove_gpu.py --outdir rehearsal --device cpu --small

From a plain checkout, without installing it. Each part stands alone: one that fails or finds no time left is
reported so, and the others go on. `--small` is a rehearsal: the same parts at sizes for one CPU core.
"""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import click  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from celebahq.files import write_json, write_text  # noqa: E402
from celebahq.processes import World  # noqa: E402
from celebahq.pyramid import PyramidWriter  # noqa: E402
from celebahq.restore.infer import load_restorer  # noqa: E402
from swd.method.wasserstein import sliced_wasserstein  # noqa: E402
from trainer.configuration.config import TrainingConfig  # noqa: E402
from trainer.configuration.presets import preset  # noqa: E402
from trainer.configuration.schedule import Phase, TrainingSchedule  # noqa: E402
from trainer.configuration.settings import override  # noqa: E402
from trainer.networks.backends import prepare_backends  # noqa: E402
from trainer.storage.checkpoint import states  # noqa: E402
from trainer.training.bench import PartTimes, SyntheticData, bench  # noqa: E402
from trainer.training.costs import step_costs  # noqa: E402
from trainer.training.state import new_state  # noqa: E402
from trainer.training.steps import Steps  # noqa: E402

CPU = torch.device("cpu")
ARITHMETICS = {
    "fp32": [],
    "tf32": ["runtime.tf32=true"],
    "bf16": ["runtime.precision=bf16"],
    "bf16 NHWC": ["runtime.precision=bf16", "runtime.channels_last=true"],
    "tf32 compiled": ["runtime.tf32=true", "runtime.compile=true"],
    "bf16 NHWC compiled": [
        "runtime.precision=bf16",
        "runtime.channels_last=true",
        "runtime.compile=true",
    ],
}


@dataclasses.dataclass(frozen=True)
class Proof:
    """What the parts work with."""

    device: torch.device
    outdir: Path
    small: bool

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU to prove anything about."""
        return self.device.type == "cuda"

    def config(self, *changes: str, resolution: int = 0) -> TrainingConfig:
        """The published networks, or small ones; one pass per minibatch."""
        name, size = ("smoke", 16) if self.small else ("celebahq-1024", 1024)
        size = resolution or size
        passes = f"runtime.minibatch_gpu.{size}=4"
        return override(preset(name), [f"resolution={size}", "schedule.minibatch=4", passes, *changes])

    def wait(self) -> None:
        """For the device."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, function: Callable[[], object], repeats: int = 3) -> float:
        """The fastest of some calls, after one that is not counted."""
        taken = []
        for _ in range(repeats + 1):
            self.wait()
            start = time.perf_counter()
            function()
            self.wait()
            taken.append(time.perf_counter() - start)
        return min(taken[1:])


def phase_of(config: TrainingConfig, resolution: int, minibatch: int = 4) -> Phase:
    """Fully grown into a resolution."""
    lod = float(np.log2(config.schedule.resolution // resolution))
    first = TrainingSchedule(config.schedule).at(0.0)
    return dataclasses.replace(first, lod=lod, resolution=resolution, minibatch=minibatch)


def steps_on(config: TrainingConfig, device: torch.device) -> Steps:
    """Untrained networks and noise for images; the same on every device."""
    prepare_backends(config.runtime)
    return Steps(config, new_state(config, device), SyntheticData(config), device, World(), PartTimes(device))


def gradient_of(config: TrainingConfig, resolution: int, device: torch.device) -> torch.Tensor:
    """D's and G's gradients, end to end, on the CPU in float64."""
    steps = steps_on(config, device)
    plan = steps.plan(phase_of(config, resolution))
    steps.discriminator_gradients(plan)
    found = list(steps.state.D_adam.gradients().values())
    steps.generator_gradients(plan)
    found += steps.state.G_adam.gradients().values()
    return torch.cat([gradient.flatten().to(CPU, torch.float64) for gradient in found])


def gradients(proof: Proof) -> dict[str, Any]:
    """Relative distance and cosine of the device's gradients from those of the CPU in float32."""
    resolution = 8 if proof.small else 128
    size = max(resolution, 16)
    passes = f"runtime.minibatch_gpu.{resolution}=4"
    expected = gradient_of(proof.config(passes, resolution=size), resolution, CPU)
    rows = {}
    for name, changes in ARITHMETICS.items():
        if "compiled" in name:
            continue
        found = gradient_of(proof.config(passes, *changes, resolution=size), resolution, proof.device)
        distance = torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected)
        cosine = torch.cosine_similarity(found, expected, dim=0)
        rows[name] = {"relative distance": float(distance), "cosine": float(cosine)}
    return rows


def command(*arguments: object, kill_at_tick: int = 0) -> None:
    """Run `python -m trainer`, to its end or until it has written so many ticks."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-m", "trainer", *map(str, arguments)]
    with subprocess.Popen(
        program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        if kill_at_tick:
            outdir = Path(str(arguments[arguments.index("--outdir") + 1]))
            while process.poll() is None:
                if sum(len(f.read_text().splitlines()) for f in outdir.glob("*/stats.jsonl")) >= kill_at_tick:
                    process.kill()
                time.sleep(0.05)
            process.wait()
            return
        _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"trainer {arguments[0]}: {errors.decode()[-500:]}")


def small_run(proof: Proof, outdir: Path) -> list[object]:
    """Arguments of a short run on photos that are noise."""
    data = proof.outdir / "noise.h5"
    if not data.exists():
        coarse = np.random.default_rng(0).integers(0, 256, (64, 3, 4, 4), dtype=np.uint8)
        with PyramidWriter(data, 32) as pyramid:
            pyramid.append(coarse.repeat(8, axis=2).repeat(8, axis=3))
    kimg, tick = (0.064, 0.016) if proof.small else (4.0, 0.5)
    changes = [f"train.total_kimg={kimg}", f"schedule.tick_kimg={tick}", f"schedule.train_kimg={kimg / 8}"]
    changes += [f"schedule.trans_kimg={kimg / 8}"]
    options = [part for change in changes for part in ("--set", change)]
    run = ["run", "--data", data, "--preset", "smoke", "--outdir", outdir, "--device", proof.device]
    return [*run, "--deterministic", *options]


def kill_and_resume(proof: Proof) -> dict[str, Any]:
    """A run that was killed and resumed, against one that was not: SHA-256 of the last states."""
    sums = {}
    for kind in ("whole", "killed"):
        folder = proof.outdir / kind
        command(*small_run(proof, folder), kill_at_tick=2 if kind == "killed" else 0)
        run = next(folder.iterdir())
        if kind == "killed":
            command("resume", run, "--device", proof.device)
        sums[kind] = hashlib.sha256(states(run)[-1].read_bytes()).hexdigest()
    return {**sums, "equal": sums["whole"] == sums["killed"]}


def commands(proof: Proof) -> dict[str, Any]:
    """Each command on a snapshot, in seconds."""
    run = next((proof.outdir / "whole").iterdir())
    device = ["--device", proof.device]
    calls: dict[str, list[object]] = {
        "generate": ["generate", run, "--num", 64, "--out", proof.outdir / "fakes.zip", *device],
        "grid": ["grid", run, "--out", proof.outdir / "grid.png", *device],
        "evaluate": ["evaluate", run, "--images", 64, *device],
    }
    found = {}
    for name, arguments in calls.items():
        start = time.perf_counter()
        command(*arguments)
        found[name] = {"seconds": time.perf_counter() - start}
    return found


def waits(proof: Proof) -> dict[str, Any]:
    """How often PyTorch says that the process waited for the GPU, in a D step and a G step."""
    if not proof.cuda:
        return {"skipped": "PyTorch tells it of GPUs only; tests/trainer/training/test_cuda.py counts"}
    import warnings

    config = proof.config(resolution=64)
    steps = steps_on(config, proof.device)
    plan = steps.plan(phase_of(config, 64))
    steps.timed = lambda part: PartTimes(CPU)(part)  # which waits for nothing
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            unseen = steps.apply_unseen(steps.discriminator_gradients(plan), 0.001)
            steps.confirm(unseen, steps.generator_gradients(plan))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"waits": sum("synchron" in str(warning.message) for warning in caught)}


def memory(proof: Proof) -> dict[str, Any]:
    """What the estimate says of a pass, and what was reserved for it."""
    rows = {}
    for resolution in (8, 16) if proof.small else (64, 256, 1024):
        config = proof.config(f"runtime.minibatch_gpu.{resolution}=4")
        predicted = step_costs(config)[resolution].bytes_of(4) / 1e9
        rows[str(resolution)] = row = {"predicted GB": predicted}
        if proof.cuda:
            steps = steps_on(config, proof.device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_reserved()
            plan = steps.plan(phase_of(config, resolution))
            steps.discriminator_gradients(plan)
            steps.generator_gradients(plan)
            row["reserved GB"] = (torch.cuda.max_memory_reserved() - before) / 1e9
            row["allocated GB"] = torch.cuda.max_memory_allocated() / 1e9
    return rows


def speed(proof: Proof) -> dict[str, Any]:
    """Images/s at each resolution and arithmetic, and the share of what a large matrix product reaches."""
    resolutions = [8, 16] if proof.small else [4, 16, 64, 256, 1024]
    rows: dict[str, Any] = {}
    for name, changes in ARITHMETICS.items():
        if "compiled" in name and proof.small:
            continue  # minutes of compilation on a CPU
        chosen = resolutions if "compiled" not in name else resolutions[-2:]
        config = proof.config(*changes)
        prepare_backends(config.runtime)
        top = matrix_flops(proof, torch.bfloat16 if "bf16" in name else torch.float32)
        found = bench(config, None, proof.device, resolutions=chosen, steps=1 if proof.small else 3)
        for row in found:
            figures = {
                "images/s": row.images_per_sec,
                "TFLOP/s": row.tflops,
                "of the product": row.tflops / top,
            }
            rows[f"{row.resolution} {name}"] = {**figures, "GB": row.memory_gb}
    return rows


def matrix_flops(proof: Proof, dtype: torch.dtype) -> float:
    """TFLOP/s of a large matrix product."""
    n = 256 if proof.small else 8192
    a = torch.randn(n, n, device=proof.device).to(dtype)
    return 2 * n**3 / proof.seconds(lambda: a @ a) / 1e12


def distance(proof: Proof) -> dict[str, Any]:
    """The sliced Wasserstein distance of two sets of descriptors, seven levels one after the other."""
    count, levels = (2**10, 2) if proof.small else (2**21, 7)
    generator = torch.Generator(proof.device).manual_seed(0)
    a, b = (torch.randn(count, 147, device=proof.device, generator=generator) for _ in range(2))
    directions = torch.nn.functional.normalize(
        torch.randn(147, 512, device=proof.device, generator=generator), dim=0
    )
    start = time.perf_counter()
    values = [sliced_wasserstein(a, b + 0.01 * level, directions) for level in range(levels)]
    last = float(values[-1])
    return {"seconds": time.perf_counter() - start, "levels": levels, "descriptors": count, "last": last}


def restoration(proof: Proof) -> dict[str, Any]:
    """Megapixels per second that the networks take in."""
    side = 96 if proof.small else 2048
    photo = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    rows = {}
    for name in ("jpeg", "sr4x"):
        restorer = load_restorer(name, proof.device)
        part = photo if name == "jpeg" else photo[: side // 2, : side // 2]
        seconds = proof.seconds(lambda f=restorer, p=part: f(p), repeats=1)  # type: ignore[misc]
        rows[name] = {"Mpx/s": part.shape[0] * part.shape[1] / seconds / 1e6}
    return rows


def profile(proof: Proof) -> dict[str, Any]:
    """Where a step's time goes, by kernel: `profile.txt`."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    config = proof.config("runtime.precision=bf16")
    resolution = config.schedule.resolution
    steps = steps_on(config, proof.device)
    plan = steps.plan(phase_of(config, resolution))
    steps.discriminator_gradients(plan)
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if proof.cuda else [])
    with record(activities=kinds, acc_events=True) as recorded:
        steps.discriminator_gradients(plan)
        steps.generator_gradients(plan)
        proof.wait()
    order = "self_device_time_total" if proof.cuda else "self_cpu_time_total"
    averages = recorded.key_averages()
    write_text(proof.outdir / "profile.txt", averages.table(sort_by=order, row_limit=40))
    return {"kernels": sum(row.count for row in averages), "kinds": len(averages)}


def training(proof: Proof) -> dict[str, Any]:
    """Two minutes of training, and what they give: `trained.png`."""
    outdir, seconds = proof.outdir / "trained", 2 if proof.small else 120
    arguments = small_run(proof, outdir)
    arguments[arguments.index("smoke")] = "smoke" if proof.small else "faces-64"
    arguments += ["--set", "resolution=32", "--set", "train.total_kimg=1000"]
    arguments += ["--set", "snapshot.network_ticks=1000000", "--set", "snapshot.image_ticks=100"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-m", "trainer", *map(str, arguments)]
    with subprocess.Popen(program, env=environment, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(outdir.glob("*/stats.jsonl")):
            time.sleep(0.1)
        time.sleep(seconds)
        process.terminate()
    run = next(outdir.iterdir())
    (run / "fakes000000.png").replace(proof.outdir / "untrained.png")
    newest = sorted(run.glob("fakes*.png"))
    if newest:
        newest[-1].replace(proof.outdir / "trained.png")
    record = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])
    return {name: record[name] for name in ("kimg", "images_per_sec", "loss_D", "loss_G")}


PARTS = (
    gradients,
    kill_and_resume,
    commands,
    waits,
    memory,
    distance,
    restoration,
    profile,
    training,
    speed,
)


def attempt(part: Callable[[Proof], dict[str, Any]], proof: Proof, deadline: float) -> dict[str, Any]:
    """A part's figures, or why there are none."""
    if time.monotonic() > deadline:
        return {"skipped": "no time left"}
    start = time.monotonic()
    try:
        found = part(proof)
    except Exception:  # whatever fails on a machine seen once must not lose the other parts
        found = {"failed": traceback.format_exc()[-1500:]}
    return {**found, "took seconds": time.monotonic() - start}


def machine(device: torch.device) -> dict[str, Any]:
    """What all of it was measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {"device": name, "torch": torch.__version__, "cuda": torch.version.cuda, "numpy": np.__version__}


def as_markdown(results: dict[str, Any]) -> str:
    """One table per part."""
    lines = [f"# {results['machine']['device']}, PyTorch {results['machine']['torch']}", ""]
    for name, figures in results.items():
        lines += [f"## {name.replace('_', ' ')}", "", "| | |", "| --- | --- |"]
        for key, value in figures.items():
            parts = value.items() if isinstance(value, dict) else [("", value)]
            shown = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in parts)
            lines.append(f"| {key} | {' '.join(shown.split())} |")
        lines.append("")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--outdir", type=click.Path(path_type=Path, exists=False), required=True, metavar="DIR")
@click.option("--device", default="cuda", show_default=True)
@click.option("--small", is_flag=True, help="A rehearsal at sizes for one CPU core.")
@click.option("--seconds", default=450.0, show_default=True, help="After these no part is begun.")
def main(outdir: Path, device: str, small: bool, seconds: float) -> None:
    """Run all parts; after each, what there is so far is written."""
    outdir.mkdir(parents=True)
    proof = Proof(torch.device(device), outdir, small)
    deadline = time.monotonic() + seconds
    results = {"machine": machine(proof.device)}
    for part in PARTS:
        results[part.__name__] = attempt(part, proof, deadline)
        click.echo(json.dumps({part.__name__: results[part.__name__]}))
        write_json(outdir / "proof.json", results)
        write_text(outdir / "proof.md", as_markdown(results))
    if any("failed" in figures for figures in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
