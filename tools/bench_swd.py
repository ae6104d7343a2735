"""Speed of the sliced Wasserstein distance against its plain restatement, and on a GPU.

On the CPU, both sides of each ratio run in turn on one core (the plain one never uses more) and the shortest
of several times counts; then the same work of `swd` on `--threads` cores. With `--device cuda`, the distance
stage of the full protocol (7 levels of 2^21 descriptors, 512 directions) and the pyramid with its patches are
timed on the device. With `--memory`, the full protocol runs on the CPU as in `swd compare`, on synthetic
images of 1024 px that are made on the fly, and the most memory that the process held is printed; the
descriptors wait in temporary files, 1.6 MB per image.

Example:
    python tools/bench_swd.py --threads 2
    python tools/bench_swd.py --memory --threads 1
    python tools/bench_swd.py --memory 1024
    python tools/bench_swd.py --device cuda
"""

import os
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the plain side's; before NumPy is loaded

import argparse
import json
import platform
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import plain_swd
import scipy
import torch
from numpy.typing import NDArray

import swd
from swd.method.descriptors import describe
from swd.method.laplacian import level_resolutions
from swd.method.protocol import MAX_IMAGES, Protocol
from swd.method.randomness import FAKES, REALS, patch_centers, random_directions
from swd.method.threads import in_threads
from swd.method.wasserstein import direction_distances
from swd.pipeline.distance import Set, measure
from swd.pipeline.extraction import extract, in_batches, whole_sample
from swd.pipeline.fakes import measure_fakes
from swd.pipeline.reference import prepare_reference
from swd.pipeline.resources import Resources
from swd.pipeline.sources import ImageSet, MemoryImages, Shape

Work = Callable[[], object]


def shortest(
    works: Sequence[Work], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Shortest time of each piece of work in seconds, all of them in turn, several times over."""
    times = [float("inf")] * len(works)
    for _ in range(repeats):
        for number, work in enumerate(works):
            start = clock()
            work()
            times[number] = min(times[number], clock() - start)
    return times


def on_threads(count: int, work: Work) -> Work:
    """The same work on so many threads."""

    def run() -> None:
        torch.set_num_threads(count)
        work()

    return run


def compare(name: str, plain: Work, ours: Work, threads: int, repeats: int) -> dict[str, object]:
    """Time both, and ours on one and on several threads; prints a line."""
    # On one core, the processor's time, which other work on the machine disturbs less.
    plain_sec, ours_sec = shortest([plain, on_threads(1, ours)], repeats, time.process_time)
    line = f"{name}: plain {plain_sec:.3f} s, swd {ours_sec:.3f} s: {plain_sec / ours_sec:.1f} times faster"
    threads_sec = ours_sec
    if threads > 1:
        alone_sec, threads_sec = shortest([on_threads(1, ours), on_threads(threads, ours)], repeats)
        line += f"; on {threads} threads {threads_sec:.3f} s: {alone_sec / threads_sec:.2f} times again"
    print(line, flush=True)
    return {
        "name": name,
        "plain_sec": plain_sec,
        "swd_sec": ours_sec,
        f"swd_{threads}_threads_sec": threads_sec,
    }


def centers(count: int, resolution: int, set_id: int) -> plain_swd.Centers:
    """Patch centres of images 0..count-1, for the plain side."""
    sizes = [(size, size) for size in level_resolutions(resolution)]
    return [level.numpy() for level in patch_centers(torch.arange(count), sizes, set_id=set_id)]


def describe_in_threads(images: torch.Tensor) -> None:
    """Descriptors of one set, as `swd compare` makes them."""
    batches = in_batches(range(len(images)), images.shape[-1])
    work = in_threads(
        lambda batch: describe(images[list(batch)], torch.tensor(batch), set_id=REALS),
        batches,
        torch.get_num_threads(),
    )
    for _ in work:
        pass


def bench_pyramid(arguments: argparse.Namespace, random: np.random.Generator) -> dict[str, object]:
    """Pyramid and patches of 1024 px images."""
    count = 32
    images = random.integers(0, 256, (count, 3, 1024, 1024), np.uint8)

    def plain() -> None:
        levels = plain_swd.laplacian_pyramid(images)
        for level, middles in zip(levels, centers(count, 1024, REALS), strict=True):
            plain_swd.gather_patches(level, middles)

    ours = torch.from_numpy(images)
    return compare(
        f"pyramid and patches, {count} images of 1024 px",
        plain,
        lambda: describe_in_threads(ours),
        arguments.threads,
        arguments.repeats,
    )


def bench_distance(arguments: argparse.Namespace, random: np.random.Generator) -> dict[str, object]:
    """The distance stage: project, sort, compare."""
    a, b = (random.standard_normal((arguments.rows, 147), np.float32) for _ in range(2))
    directions = random_directions(147)
    repeats = np.split(directions.numpy(), 4, axis=1)
    return compare(
        f"distance, {arguments.rows:,} x 147 numbers, 512 directions",
        lambda: [plain_swd.sliced_wasserstein(a, b, part) for part in repeats],
        lambda: direction_distances(torch.from_numpy(a), torch.from_numpy(b), directions),
        arguments.threads,
        arguments.repeats,
    )


def bench_whole(arguments: argparse.Namespace, random: np.random.Generator) -> dict[str, object]:
    """Two sets of 128 px images to the final figures; `swd` gives standard errors as well."""
    count = arguments.rows // Protocol.patches
    a, b = (random.integers(0, 256, (count, 3, 128, 128), np.uint8) for _ in range(2))
    repeats = np.split(random_directions(147).numpy(), 4, axis=1)
    protocol = Protocol(count, 128)

    def ours() -> None:
        resources = Resources(torch.device("cpu"), torch.get_num_threads())
        sets = [
            extract(MemoryImages("", images), range(count), protocol, resources, set_id=set_id, stage="")[0]
            for images, set_id in ((a, REALS), (b, FAKES))
        ]
        samples = [whole_sample(name, one.keys) for name, one in zip("ab", sets, strict=True)]

        def load(level: int) -> list[Set]:
            return [Set(one.load(level), sample) for one, sample in zip(sets, samples, strict=True)]

        measure(load, [(0, 1)], [], protocol, resources, "")

    return compare(
        f"whole, 2 x {count} images of 128 px",
        lambda: plain_swd.distances(a, b, centers(count, 128, REALS), centers(count, 128, FAKES), repeats),
        ours,
        arguments.threads,
        arguments.repeats,
    )


def plain_program(a: NDArray[Any], b: NDArray[Any]) -> None:
    """What the authors' program does: the reals' distance to themselves, and that of the fakes."""
    repeats = np.split(random_directions(147).numpy(), 4, axis=1)
    reals, fakes = (
        plain_swd.describe(images, centers(len(images), images.shape[-1], set_id))
        for images, set_id in ((a, REALS), (b, FAKES))
    )
    for other in (reals, fakes):
        for x, y in zip(reals, other, strict=True):
            for directions in repeats:
                plain_swd.sliced_wasserstein(x, y, directions)


def bench_command(arguments: argparse.Namespace, random: np.random.Generator) -> dict[str, object]:
    """All of `swd compare`, with both comparisons of reals with reals, errors and the corrected figures."""
    count = arguments.rows // Protocol.patches
    reals, *fakes = (random.integers(0, 256, (count, 3, 128, 128), np.uint8) for _ in range(5))

    def work(sets: int, threads: int) -> Work:
        return lambda: swd.compare(reals, fakes[:sets], device="cpu", threads=threads)

    works = [lambda: plain_program(reals, fakes[0]), work(1, 1), work(4, 1)]
    plain, one, four = shortest(works, arguments.repeats, time.process_time)
    alone, threads = shortest([work(1, 1), work(1, arguments.threads)], arguments.repeats)
    print(
        f"swd compare, 2 x {count} images of 128 px: plain {plain:.2f} s, swd {one:.2f} s: {plain / one:.1f} "
        f"times faster; four sets of fakes {four:.2f} s, {four / one:.2f} times one; "
        f"on {arguments.threads} threads {threads:.2f} s, {alone / threads:.2f} times faster",
        flush=True,
    )
    return {"name": "command", "plain_sec": plain, "one_sec": one, "four_sec": four, "threads_sec": threads}


class NoiseImages(ImageSet):
    """Images of noise that exist only while they are read."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(name)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def shapes(self, indices: Sequence[int]) -> "Counter[Shape]":
        """See `ImageSet`."""
        return Counter({(3, 1024, 1024): len(indices)})

    def read(self, indices: Sequence[int], resolution: int) -> NDArray[Any]:
        """See `ImageSet`."""
        shape = 3, resolution, resolution
        made = [np.random.default_rng(index).bytes(3 * resolution**2) for index in indices]
        return np.stack([np.frombuffer(image, np.uint8).reshape(shape) for image in made])


def bench_memory(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """The full protocol on so many images of 1024 px per set, with both comparisons of reals with reals."""
    images = arguments.memory
    torch.set_num_threads(arguments.threads)
    resources = Resources(torch.device("cpu"), arguments.threads)
    start = time.perf_counter()
    reference = prepare_reference(NoiseImages("reals", images), Protocol(images, 1024), resources)
    measure_fakes(reference, [NoiseImages("fakes", images)], resources)
    elapsed_sec = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    print(f"full protocol, 2 x {images:,} images of 1024 px: {peak_gb:.2f} GB at most, {elapsed_sec:.0f} s")
    return [{"name": "memory", "images": images, "peak_gb": peak_gb, "sec": elapsed_sec}]


def bench_cuda(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """The full protocol's distance stage, and 1024 px images to descriptors, on the GPU."""
    device = torch.device(arguments.device)
    print(torch.cuda.get_device_name(device))
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(1 << 21, 147, device=device, generator=generator) for _ in range(2))
    directions = random_directions(147).to(device)
    levels = len(level_resolutions(1024))

    def distances() -> None:
        for _ in range(levels):
            direction_distances(a, b, directions)
        torch.cuda.synchronize(device)

    distances()
    torch.cuda.reset_peak_memory_stats(device)
    (distance_sec,) = shortest([distances], arguments.repeats)
    peak_gb = torch.cuda.max_memory_allocated(device) / 1e9
    print(f"distance, {levels} levels of 2^21 x 147, 512 directions: {distance_sec:.3f} s, {peak_gb:.1f} GB")
    expected = direction_distances(a[:5000].cpu(), b[:5000].cpu(), directions.cpu())
    found = direction_distances(a[:5000], b[:5000], directions).cpu()
    difference = float(((found - expected) / expected).abs().max())
    print(f"largest relative difference from the CPU along a direction: {difference:.1e}")

    images = torch.randint(0, 256, (16, 3, 1024, 1024), dtype=torch.uint8)
    indices = torch.arange(16, device=device)

    def descriptors() -> None:
        describe(images.to(device), indices, set_id=REALS)
        torch.cuda.synchronize(device)

    descriptors()
    (describe_sec,) = shortest([descriptors], arguments.repeats)
    print(f"pyramid and patches of 1024 px images, with their upload: {16 / describe_sec:.0f} images/s")
    return [
        {"name": "distance", "sec": distance_sec, "peak_gb": peak_gb, "difference_from_cpu": difference},
        {"name": "pyramid and patches", "images_per_sec": 16 / describe_sec},
    ]


def processor() -> str:
    """The processor's name, as far as the system tells."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Run the benchmarks and print one line each; `--json FILE` keeps the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="for the second time of swd on the CPU")
    parser.add_argument(
        "--memory",
        nargs="?",
        type=int,
        const=MAX_IMAGES,
        metavar="IMAGES",
        help=f"measure peak memory on so many images per set, {MAX_IMAGES:,} unless told",
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--rows", type=int, default=1 << 18, help="descriptors per level, for the last two rows"
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers there")
    arguments = parser.parse_args()
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}, "
    print(f"{versions}OpenCV {cv2.__version__}, torch {torch.__version__}")
    print(f"{os.cpu_count()} x {processor()}")
    if arguments.device.startswith("cuda"):
        found = bench_cuda(arguments)
    elif arguments.memory:
        found = bench_memory(arguments)
    else:
        random = np.random.default_rng(0)
        benches = (bench_pyramid, bench_distance, bench_whole, bench_command)
        found = [bench(arguments, random) for bench in benches]
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(found, file, indent=2)


if __name__ == "__main__":
    main()
