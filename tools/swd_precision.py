"""How far the figures of `swd`, and their standard errors, can be trusted: the tables of docs/precision.md.

Sets of images are drawn again and again from two folders, real and generated: a picture at random, cut at a
random place and reduced, so that any number of different images can be drawn. A standard error is right if it
is the spread of the figures over the draws; a corrected figure, if it does not depend on how many are drawn.

Example:
    python tools/swd_precision.py errors REAL FAKE --images 50 100 400 --draws 60
    python tools/swd_precision.py corrected REAL FAKE --images 50 100 200 400 800 --draws 20
    python tools/swd_precision.py gaussians --images 50 100 200 400 800 1600 3200 --draws 20
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from celebahq.processes import World
from swd.method.copies import cluster, content_keys
from swd.method.descriptors import describe, normalize_descriptors
from swd.method.measured import Estimate, Measured, Sample, average, corrected, own_share
from swd.method.protocol import Protocol
from swd.method.randomness import FAKES, REALS, random_directions
from swd.pipeline.distance import Set, measure_level
from swd.pipeline.extraction import halves, whole_sample
from swd.pipeline.sources import open_images

Images = NDArray[Any]
"""`[N, 3, r, r]` uint8."""

BLUR = 0.5  # standard deviation in pixels of a generator that is a little worse


@dataclass
class Pool:
    """Pictures to draw images from."""

    pictures: Images
    resolution: int

    def draw(self, count: int, random: np.random.Generator) -> Images:
        """`[count, 3, resolution, resolution]` uint8, no two of them alike but by chance."""
        size = self.pictures.shape[-1]
        factor = max(1, int(0.8 * size) // self.resolution)
        side = factor * self.resolution
        images = np.empty((count, 3, self.resolution, self.resolution), np.uint8)
        for image in images:
            picture = self.pictures[random.integers(len(self.pictures))]
            y, x = random.integers(0, size - side + 1, 2)
            cut = picture[:, y : y + side, x : x + side]
            blocks = cut.reshape(3, self.resolution, factor, self.resolution, factor)
            image[:] = np.rint(blocks.mean(axis=(2, 4)))
        return images


def open_pool(path: Path, resolution: int) -> Pool:
    """All images of a folder, at their own size."""
    images = open_images(path)
    ((_, size, _),) = images.shapes(range(len(images)))
    return Pool(images.read(range(len(images)), size), resolution)


def blurred(images: Images) -> Images:
    """Each a little blurred."""
    return np.stack([cv2.GaussianBlur(i.transpose(1, 2, 0), (0, 0), BLUR).transpose(2, 0, 1) for i in images])


@dataclass
class Described:
    """Patches of a set on each level `[N * P, C, 7, 7]`, and which of its images are the same."""

    levels: list[torch.Tensor]
    keys: torch.Tensor


def described(images: Images, set_id: int, seed: int, patches: int) -> Described:
    """Cut a set's patches, as `swd` does."""
    tensor = torch.from_numpy(np.ascontiguousarray(images))
    parts = [
        describe(some, torch.arange(start, start + len(some)), set_id=set_id, seed=seed, patches=patches)[0]
        for start, some in zip(range(0, len(tensor), 64), torch.split(tensor, 64), strict=True)
    ]
    return Described([torch.cat(level) for level in zip(*parts, strict=True)], content_keys(tensor))


@dataclass
class Figures:
    """Of each set after the first, its distance to that."""

    raw: list[Measured]
    """Averaged over levels."""
    fixed: list[Measured]
    """The same, corrected; empty if that was not asked for."""
    finest: list[Measured]
    """On the finest level."""


def both_halves(one: Described) -> tuple[torch.Tensor, torch.Tensor]:
    """The places of a set's two halves."""
    found = halves(cluster(one.keys))
    assert found is not None, "a set of copies of one image"
    return found


def figures(sets: Sequence[Described], seed: int, patches: int, *, correct: bool = False) -> Figures:
    """Compare sets with the first of them, along the directions of a seed."""
    samples = [sample_of(str(number), one.keys) for number, one in enumerate(sets)]
    parts: list[Sequence[torch.Tensor]] = [both_halves(one) if correct else () for one in sets]
    count = len(sets)
    pairs = [(0, number) for number in range(1, count)]
    own = [(count + 2 * number, count + 2 * number + 1) for number in range(count)] if correct else []
    protocol = Protocol(len(sets[0].keys), 16, patches=patches, seed=seed)
    directions = random_directions(147, seed=seed)
    raw: list[list[Measured]] = [[] for _ in pairs]
    fixed: list[list[Measured]] = [[] for _ in pairs]
    for level in range(len(sets[0].levels)):
        compared = [
            Set(normalize_descriptors(one.levels[level]), sample)
            for one, sample in zip(sets, samples, strict=True)
        ]
        for one, sample, part in zip(sets, samples, parts, strict=True):
            images = one.levels[level].unflatten(0, (-1, patches))
            for side in part:
                member = Sample(sample.population, sample.members[side], sample.clusters)
                compared.append(Set(normalize_descriptors(images[side].flatten(0, 1)), member))
        found = measure_level(compared, pairs, own, directions, protocol, World())
        of_halves = list(zip(map(share_of, sets, parts), found[len(pairs) :], strict=False))
        for number in range(len(pairs)):
            raw[number].append(found[number])
            if correct:
                fixed[number].append(corrected(found[number], [of_halves[0], of_halves[number + 1]]))
    raw_averages, fixed_averages = ([average(one) for one in kind if one] for kind in (raw, fixed))
    return Figures(raw_averages, fixed_averages, [levels[0] for levels in raw])


def sample_of(population: str, keys: torch.Tensor) -> Sample:
    """A whole set; images are counted by their places where all differ, so that sets can be paired."""
    if len(set(keys.tolist())) < len(keys):
        return whole_sample(population, keys)
    return Sample(population, torch.arange(len(keys)), torch.arange(len(keys)))


def share_of(one: Described, parts: Sequence[torch.Tensor]) -> float:
    """`own_share` of a set's halves."""
    different = [len(set(one.keys[side].tolist())) for side in parts]
    return own_share(sum(different), *different) if different else math.nan


def as_pair(base: Measured, other: Measured) -> Measured:
    """The difference of two sets of fakes, images at the same place of which belong together."""
    renamed = []
    for measured in (base, other):
        images = {"0" if name == "0" else "fakes": rows for name, rows in measured.images.items()}
        renamed.append(Measured(measured.value, measured.directions, images, measured.several))
    return renamed[1] - renamed[0]


def spread_of(estimates: Sequence[Estimate]) -> float:
    """Standard deviation of figures."""
    return float(np.std([estimate.value for estimate in estimates], ddof=1))


def error_to_spread(estimates: Sequence[Estimate]) -> float:
    """Mean standard error over the figures' standard deviation."""
    return float(np.mean([estimate.se or math.nan for estimate in estimates])) / spread_of(estimates)


def summary(estimates: Sequence[Estimate]) -> str:
    """Mean figure, its spread, mean standard error over spread, how often the mean is within two of them."""
    values = np.array([estimate.value for estimate in estimates])
    errors = np.array([estimate.se for estimate in estimates], dtype=float)
    cover = np.mean(np.abs(values - values.mean()) < 2 * errors)
    spread, ratio = spread_of(estimates), error_to_spread(estimates)
    return f"{values.mean():.2f} | {spread:.2f} | {ratio:.2f} | {cover:.2f}"


# Sets that are compared with the reals.
FIRST = "generated"
NEAR = "others of the same generator"
FAR = "others, blurred"
SAME = "the first, blurred"
ALIKE = "other reals (alike)"
REPEATED = "each of N/10 generated ten times"
MIRRORED = "generated and mirrored"


def draw_sets(
    real: Pool, fake: Pool, count: int, random: np.random.Generator
) -> tuple[Images, dict[str, Images]]:
    """Reals, and sets to compare with them; the differences of three are taken to the first."""
    reals, first, second, others = (pool.draw(count, random) for pool in (real, fake, fake, real))
    few, half = np.repeat(fake.draw(count // 10, random), 10, axis=0), fake.draw(count // 2, random)
    return reals, {
        FIRST: first,
        NEAR: second,
        FAR: blurred(second),
        SAME: blurred(first),
        ALIKE: others,
        REPEATED: few,
        MIRRORED: np.concatenate([half, half[..., ::-1]]),
    }


@dataclass
class Draws:
    """What was found in each draw of sets, by set."""

    raw: dict[str, list[Estimate]] = field(default_factory=lambda: defaultdict(list))
    finest: dict[str, list[Estimate]] = field(default_factory=lambda: defaultdict(list))
    """On the finest level."""
    difference: dict[str, list[Estimate]] = field(default_factory=lambda: defaultdict(list))
    """To the first set."""
    bars: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """What a difference's error would be, were the two figures independent."""


def repeat(real: Pool, fake: Pool, count: int, draws: int, patches: int) -> Draws:
    """Draw sets of so many images, again and again."""
    found = Draws()
    for number in range(draws):
        reals, fakes = draw_sets(real, fake, count, np.random.default_rng([number, count]))
        sets = [described(reals, REALS, number, patches)]
        sets += [described(images, FAKES, number, patches) for images in fakes.values()]
        both = figures(sets, number, patches)
        first = both.raw[0]
        for name, raw, finest in zip(fakes, both.raw, both.finest, strict=True):
            found.raw[name].append(raw.estimate)
            found.finest[name].append(finest.estimate)
            if name in (NEAR, FAR, SAME):
                difference = as_pair(first, raw) if name == SAME else raw - first
                found.difference[name].append(difference.estimate)
                found.bars[name].append(math.hypot(first.estimate.se or 0, raw.estimate.se or 0))
    return found


def errors(arguments: argparse.Namespace) -> Iterator[str]:
    """Standard errors against the spread over draws: of figures, and of differences of two sets of fakes."""
    real, fake = pools(arguments)
    found = {
        count: repeat(real, fake, count, arguments.draws, arguments.patches) for count in arguments.images
    }
    yield "| reals against | N | figure | spread | se / spread | cover | finest level: se / spread | cover |"
    yield "| --- |" + " ---: |" * 7
    for count, draws in found.items():
        for name, raw in draws.raw.items():
            fine = summary(draws.finest[name]).split(" | ", 2)[2]
            yield f"| {name} | {count} | {summary(raw)} | {fine} |"
    yield ""
    yield "| difference to the first | N | difference | spread | se / spread | cover | both bars / spread |"
    yield "| --- |" + " ---: |" * 6
    for count, draws in found.items():
        for name, estimates in draws.difference.items():
            bars = np.mean(draws.bars[name]) / spread_of(estimates)
            yield f"| {name} | {count} | {summary(estimates)} | {bars:.2f} |"


def pools(arguments: argparse.Namespace) -> tuple[Pool, Pool]:
    """The two folders' pictures."""
    real, fake = (open_pool(path, arguments.resolution) for path in (arguments.real, arguments.fake))
    return real, fake


HEADER = "| sets | N | draws | raw | spread | corrected | spread | se / spread | 0 |"


def correction(name: str, results: Sequence[tuple[Estimate, Estimate]], count: int) -> str:
    """A row of the table of corrected figures."""
    raw, fixed = ([pair[kind] for pair in results] for kind in (0, 1))
    values = [[estimate.value for estimate in kind] for kind in (raw, fixed)]
    spreads = [np.std(kind, ddof=1) for kind in values]
    error = np.mean([estimate.se or 0 for estimate in fixed])
    none = sum(value == 0 for value in values[1])
    return (
        f"| {name} | {count:,} | {len(results)} | {np.mean(values[0]):.2f} | {spreads[0]:.2f} | "
        f"{np.mean(values[1]):.2f} | {spreads[1]:.2f} | {error / spreads[1]:.2f} | {none} |"
    )


def corrections(arguments: argparse.Namespace) -> Iterator[str]:
    """Raw and corrected figures over the number of images."""
    real, fake = pools(arguments)
    yield HEADER
    yield "| --- |" + " ---: |" * 8
    for count in arguments.images:
        draws = max(3, min(arguments.draws, arguments.draws * 200 // count))
        results: dict[str, list[tuple[Estimate, Estimate]]] = {}
        for number in range(draws):
            random = np.random.default_rng([number, count])
            reals, others = real.draw(count, random), real.draw(count, random)
            sets = [described(reals, REALS, number, arguments.patches)]
            fakes = {"real, generated": fake.draw(count, random), "real, other real blurred": blurred(others)}
            fakes["real, other real"] = others
            sets += [described(images, FAKES, number, arguments.patches) for images in fakes.values()]
            both = figures(sets, number, arguments.patches, correct=True)
            for name, one, other in zip(fakes, both.raw, both.fixed, strict=True):
                results.setdefault(name, []).append((one.estimate, other.estimate))
        for name, found in results.items():
            yield correction(name, found, count)


def gaussians(arguments: argparse.Namespace) -> Iterator[str]:
    """The same for normal descriptors, whose limit is known.

    Each image has a component that all its descriptors share, as a photograph's patches do. The distance of
    two normal distributions of mean 0 along a direction is |s - t| sqrt(2 / pi).
    """
    yield HEADER
    yield "| --- |" + " ---: |" * 8
    for spread in (0.0, 0.4, 1.0):
        # As the channels' normalisation leaves them: the mean square of each is 1.
        channels = torch.exp(spread * torch.linspace(-1, 1, 147)).view(3, 49)
        scales = (channels / channels.square().mean(dim=1, keepdim=True).sqrt()).flatten()
        for count in arguments.images:
            draws = max(3, min(arguments.draws, arguments.draws * 400 // count))
            results = []
            for number in range(draws):
                generator = torch.Generator().manual_seed(number)
                sets = [normal_set(count, scale, generator, arguments.patches) for scale in (1.0, scales)]
                both = figures(sets, number, arguments.patches, correct=True)
                results.append((both.raw[0].estimate, both.fixed[0].estimate))
            directions = random_directions(147, repeats=64).double()
            along = (directions.square() * scales.double().square()[:, None]).sum(0).sqrt()
            limit = 1000 * math.sqrt(2 / math.pi) * float((along - 1).abs().mean())
            yield correction(f"normal, limit {limit:.2f}", results, count)


def normal_set(
    count: int, scales: torch.Tensor | float, generator: torch.Generator, patches: int
) -> Described:
    """Descriptors of so many images, a tenth of whose variance the descriptors of an image share."""
    common = torch.randn(count, 1, 147, generator=generator)
    own = torch.randn(count, patches, 147, generator=generator)
    rows = (0.1**0.5 * common + 0.9**0.5 * own) * scales
    return Described([rows.view(-1, 3, 7, 7)], torch.arange(count))


EXPERIMENTS = {
    "errors": errors,
    "corrected": corrections,
    "gaussians": gaussians,
}


def main() -> None:
    """Run an experiment and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("real", type=Path, nargs="?", help="folder of real images, squares of one size")
    parser.add_argument("fake", type=Path, nargs="?", help="folder of generated ones")
    parser.add_argument("--images", type=int, nargs="+", default=[50, 100], help="per set")
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--patches", type=int, default=128, help="per image and level")
    arguments = parser.parse_args()
    if arguments.experiment != "gaussians" and arguments.fake is None:
        parser.error("name two folders, of real and of generated images")
    for line in EXPERIMENTS[arguments.experiment](arguments):
        print(line, flush=True)


if __name__ == "__main__":
    main()
