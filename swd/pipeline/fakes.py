"""Sets of fakes against the reals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from swd.method.copies import cluster, count_different
from swd.method.measured import Measured, Sample, own_share
from swd.method.randomness import FAKES
from swd.pipeline.distance import Set, correct, measure
from swd.pipeline.extraction import Extracted, extract, halves, say_copies, whole_sample
from swd.pipeline.reference import Reference
from swd.pipeline.resources import Resources
from swd.pipeline.sources import ImageSet
from swd.pipeline.store import descriptor_bytes, reserve_room

# Sets of fakes whose descriptors wait together, so that the reals are projected and sorted once for them.
_GROUP_BYTES = 4 << 30


@dataclass(frozen=True)
class MeasuredFakes:
    """A set of fakes against the reals, level by level."""

    levels: list[Measured]
    corrected: list[Measured] | None
    """None where a set has a single image."""


def measure_fakes(
    reference: Reference, fakes: Sequence[ImageSet], resources: Resources, *, paired: bool = False
) -> list[MeasuredFakes]:
    """Distances of sets of fakes to the reals.

    Args:
        reference: The reals' side.
        fakes: The sets.
        resources: Device, threads and processes.
        paired: Whether images at the same place of all sets belong together.

    Raises:
        FormatError: An image is damaged.
        ToolError: There is not enough room for temporary files.
    """
    protocol = reference.protocol
    size = max(1, _GROUP_BYTES // max(1, descriptor_bytes(protocol, protocol.images)))
    room = reserve_room(protocol, [protocol.images] * min(size, len(fakes)), resources.world.size)
    if room:
        resources.say(room)
    groups = [fakes[start : start + size] for start in range(0, len(fakes), size)]
    found = []
    for number, group in enumerate(groups):
        extracted = []
        for fake in group:
            chosen = protocol.choose(len(fake), FAKES)
            extracted += extract(fake, chosen, protocol, resources, set_id=FAKES, stage=fake.name)
            say_copies(fake.name, extracted[-1].keys, resources)
        populations = ["fakes" if paired else f"fakes {number}-{place}" for place in range(len(group))]
        samples = [
            replace(whole_sample(population, one.keys), paired=paired)
            for population, one in zip(populations, extracted, strict=True)
        ]
        found += _measure_group(reference, extracted, samples, resources, [fake.name for fake in group])
    return found


def _measure_group(
    reference: Reference,
    extracted: Sequence[Extracted],
    samples: Sequence[Sample],
    resources: Resources,
    names: Sequence[str],
) -> list[MeasuredFakes]:
    parts = [halves(cluster(one.keys)) for one in extracted]
    pairs = [(0, number) for number in range(1, len(extracted) + 1)]
    own: list[tuple[int, int]] = []
    for part in parts:
        if part:
            own.append((len(extracted) + 1 + 2 * len(own), len(extracted) + 2 + 2 * len(own)))

    def load(level: int) -> list[Set]:
        sets = [Set(reference.levels.load(level), reference.sample)]
        sets += [Set(one.load(level), sample) for one, sample in zip(extracted, samples, strict=True)]
        for one, sample, part in zip(extracted, samples, parts, strict=True):
            if part:
                rows = one.load_parts(level, part)
                members = [replace(sample, members=sample.members[side]) for side in part]
                sets += [Set(*side) for side in zip(rows, members, strict=True)]
        return sets

    stage = f"distances, {names[0]}" if len(names) == 1 else f"distances, {len(names)} sets"
    found = measure(load, pairs, own, reference.protocol, resources, stage)
    of_halves = iter(found[len(pairs) :])
    results = []
    for levels, one, part in zip(found, extracted, parts, strict=False):
        fixed = None
        if part and reference.own:
            clusters = cluster(one.keys)
            first, second = (count_different(clusters[side]) for side in part)
            fakes_own = own_share(first + second, first, second), next(of_halves)
            fixed = correct(levels, [(reference.own.share, reference.own.levels), fakes_own])
        results.append(MeasuredFakes(levels, fixed))
    return results
