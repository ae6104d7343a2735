"""The numeric tests as on other processors: with older instructions, and with other numbers of threads.

    python tools/check_processors.py [PYTEST_ARGS]

The libraries choose their kernels by the processor that they find, and kernels differ in the order in which
they add up. They can be told to find less: each setting is a set of environment variables, under which the
tests run once more. A test that fails under one of them states a property of one processor, or finds one.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

# Where results are computed by kernels that depend on the processor. Files, options and messages do not.
NUMERIC = (
    "tests/celebahq/align",
    "tests/celebahq/formats/test_levels.py",
    "tests/celebahq/legacy",
    "tests/celebahq/restore",
    "tests/celebahq/test_build_bytes.py",
    "tests/celebahq/test_reconstruct.py::test_every_image_is_the_published_one",
    "tests/swd",
    "tests/tools/test_train_restorer.py::test_an_interrupted_run_ends_as_an_uninterrupted_one",
    "tests/trainer/networks",
    "tests/trainer/test_cli.py::test_generated_images_are_the_same_in_every_container_and_number",
    "tests/trainer/test_randomness.py",
    "tests/trainer/training/test_batches.py",
    "tests/trainer/training/test_data.py",
    "tests/trainer/training/test_losses.py",
    "tests/trainer/training/test_optimizer.py",
    "tests/trainer/training/test_steps.py",
    "tests/trainer/training/test_loop.py::test_a_signal_saves_the_state_and_the_run_ends_in_the_same_bits",
    "tests/trainer/use",
)

# Prints what the libraries found, as a proof that they listen.
FOUND = (
    "import cv2, numpy, torch; "
    "print('torch', torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), 'threads;', "
    "'NumPy', (numpy.show_config(mode='dicts')['SIMD Extensions'].get('found') or ['baseline'])[-1] + ';', "
    "'OpenCV', cv2.getCPUFeaturesLine().replace('*', ''), cv2.ipp.getIppVersion())"
)


class Outcome(NamedTuple):
    """One run of pytest."""

    status: int
    counts: str
    """As pytest says them: "3 failed, 900 passed, 2 skipped"."""
    elapsed_sec: float


def settings() -> dict[str, dict[str, str]]:
    """The environment variables of each setting, by its name."""
    numpy_features, opencv_features = dispatched_numpy(), dispatched_opencv()
    oldest = {
        "ATEN_CPU_CAPABILITY": "default",
        "DNNL_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
        "NPY_DISABLE_CPU_FEATURES": ",".join(numpy_features),
        "OPENCV_CPU_DISABLE": ",".join(opencv_features),
        "OPENCV_IPP": "sse42",
        "JSIMD_FORCENONE": "1",
    }
    avx2 = {
        "ATEN_CPU_CAPABILITY": "avx2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "NPY_DISABLE_CPU_FEATURES": ",".join(filter(beyond_avx2, numpy_features)),
        "OPENCV_CPU_DISABLE": ",".join(filter(beyond_avx2, opencv_features)),
        "OPENCV_IPP": "avx2",
    }
    return {
        "SSE4, 1 thread": oldest | threads(1),
        "AVX2, 2 threads": avx2 | threads(2),
        "own, 4 threads": threads(4),
    }


def threads(count: int) -> dict[str, str]:
    """That many, also on fewer processors: there MKL would take fewer, and waiting ones would spin."""
    return {"OMP_NUM_THREADS": str(count), "MKL_DYNAMIC": "FALSE", "OMP_WAIT_POLICY": "passive"}


def dispatched_numpy() -> list[str]:
    """The instruction sets beyond its baseline that this NumPy uses on this processor, by its names."""
    import numpy as np

    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return list(extensions.get("found", []))


def dispatched_opencv() -> list[str]:
    """The same of OpenCV; its line of features marks them with a star."""
    import cv2

    return [name[1:].rstrip("?") for name in cv2.getCPUFeaturesLine().split() if name.startswith("*")]


def beyond_avx2(feature: str) -> bool:
    """Whether a processor with AVX2 alone lacks it."""
    return feature.startswith("AVX512") or feature == "X86_V4"


def environment_of(variables: dict[str, str]) -> dict[str, str]:
    """This process's environment under a setting, less what would hide what the setting is meant to show."""
    hiding = ("OMP_", "MKL_", "OPENBLAS_NUM_THREADS")
    return {name: value for name, value in os.environ.items() if not name.startswith(hiding)} | variables


def run(variables: dict[str, str], arguments: list[str]) -> Outcome:
    """Run pytest under a setting, its output passed on."""
    environment = environment_of(variables)
    subprocess.run([sys.executable, "-c", FOUND], env=environment, cwd=ROOT, check=True)
    start, last = time.monotonic(), ""
    at_once = ["--numprocesses", str(os.cpu_count() or 1), "--dist", "loadfile"]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *at_once, *NUMERIC, *arguments]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return Outcome(process.returncode, re.sub(r" in [\d.]+s.*", "", last), time.monotonic() - start)


def main(arguments: list[str]) -> int:
    """Run all settings; 0 if every one passes."""
    outcomes = {}
    for name, variables in settings().items():
        print(f"\n== {name}: {' '.join(f'{key}={value}' for key, value in variables.items())}", flush=True)
        outcomes[name] = run(variables, arguments)
    print("\nsetting, as pytest counts, seconds")
    for name, outcome in outcomes.items():
        print(f"{name:16}  {outcome.counts:44}  {outcome.elapsed_sec:5.0f}")
    return max(outcome.status for outcome in outcomes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
