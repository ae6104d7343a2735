"""Sets of fakes against the reals: what `swd compare`, `swd track` and `swd cache` do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from celebahq.errors import ToolError
from celebahq.files import make_folder, refuse_existing
from swd.agreement import agree
from swd.diversity import Similarity, diversity
from swd.fidelity import Fidelity, measure_fidelity, require_torch_fidelity
from swd.method.protocol import Protocol
from swd.method.randomness import FAKES, REALS
from swd.pipeline.cache import SUFFIX, cache_bytes, is_cache, load_cache, save_cache
from swd.pipeline.distance import Distance, measure
from swd.pipeline.extraction import extract
from swd.pipeline.reals import ExtractedLevels, Reals, prepare_reals
from swd.pipeline.resources import Resources
from swd.pipeline.sources import ImageSet, open_images
from swd.pipeline.store import require_room, reserve_room


@dataclass(frozen=True)
class Distances:
    """Of each set of fakes to the reals, and of the reals to themselves; see `Reals`."""

    fakes: list[Distance]
    fresh_patches: Distance
    disjoint: Distance | None


@dataclass(frozen=True)
class Similarities:
    """Within each set of fakes, and within the reals unless they come from a cache."""

    fakes: list[Similarity]
    reals: Similarity | None


@dataclass(frozen=True)
class Report:
    """What was found; None for a metric that was not asked for. Lists are in the order of `fakes`."""

    real: str
    fakes: list[str]
    protocol: Protocol
    distances: Distances | None = None
    similarities: Similarities | None = None
    fidelities: list[Fidelity] | None = None


def compare(
    real: Path | str,
    fakes: Sequence[Path | str],
    *,
    images: int | None = None,
    resolution: int | None = None,
    seed: int = 0,
    metrics: Sequence[str] = ("swd",),
    resources: Resources | None = None,
) -> Report:
    """Compare sets of generated images with the real ones.

    Args:
        real: An HDF5 pyramid, folder, zip, npz or npy of images, or a cache that `swd cache` made of one.
        fakes: One or more such sets, no caches.
        images: Per set; unless told, as many as every set has, at most 16,384.
        resolution: Unless told, that of the images, which must be one.
        seed: Key of all randomness.
        metrics: Some of `swd`, `msssim`, `fid`, `is`.
        resources: Device, threads and processes; one thread on the CPU unless told.

    Raises:
        ToolError: The sets cannot be compared.
        FormatError: A file is damaged.
        MissingExtraError: A metric needs a package that is not installed.
    """
    resources = resources or Resources(torch.device("cpu"))
    inception = [metric for metric in ("fid", "is") if metric in metrics]
    if inception:
        require_torch_fidelity()  # now, rather than after an hour
    source = load_cache(Path(real), resources.device) if is_cache(Path(real)) else open_images(Path(real))
    if isinstance(source, Reals) and "fid" in metrics:
        raise ToolError(f"{real}: FID needs the real images themselves, not their cache")
    fake_sets = [open_images(Path(path)) for path in fakes]
    protocol, remarks = agree(source, fake_sets, images=images, resolution=resolution, seed=seed)
    for remark in remarks:
        resources.say(remark)

    return Report(
        real=str(real),
        fakes=[fake.name for fake in fake_sets],
        protocol=protocol,
        distances=measure_distances(source, fake_sets, protocol, resources) if "swd" in metrics else None,
        similarities=_similarities(source, fake_sets, protocol, resources) if "msssim" in metrics else None,
        fidelities=_fidelities(source, fake_sets, protocol, resources, inception) if inception else None,
    )


def make_cache(
    real: Path,
    out: Path,
    *,
    images: int | None = None,
    resolution: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    resources: Resources,
) -> Protocol:
    """Keep the reals' side of comparisons in a file; arguments as for `compare`.

    Returns:
        What the cache holds.

    Raises:
        ToolError: The images do not allow it, or `out` exists.
        FormatError: A file is damaged.
    """
    if not is_cache(out):
        raise ToolError(f"{out}: the name of a cache ends in {SUFFIX}, by which it is known")
    refuse_existing(out, overwrite=overwrite)
    source = open_images(real)
    protocol, remarks = agree(source, images=images, resolution=resolution, seed=seed)
    make_folder(out.parent)
    require_room(out.parent, cache_bytes(protocol), "choose another place, or use fewer --images")
    remarks.append(
        f"{out}: {cache_bytes(protocol) / 1e9:.2g} GB, {cache_bytes(protocol, levels=1) / 1e9:.2g} GB "
        f"for each of {len(protocol.resolutions)} levels"
    )
    for remark in remarks:
        resources.say(remark)
    save_cache(out, prepare_reals(source, protocol, resources), resources)
    return protocol


def measure_distances(
    source: ImageSet | Reals, fakes: Sequence[ImageSet], protocol: Protocol, resources: Resources
) -> Distances:
    """Sliced Wasserstein distances of sets of fakes to the reals, and of the reals to themselves.

    Args:
        source: The real images, or what a cache holds of them.
        fakes: The sets to compare with them.
        protocol: On which all of them agree.
        resources: Device, threads and processes.

    Raises:
        FormatError: An image is damaged.
        ToolError: There is not enough room for temporary files.
    """
    reals = source if isinstance(source, Reals) else prepare_reals(source, protocol, resources)
    room = reserve_room(protocol, [protocol.images], resources.world.size)
    if room:
        resources.say(room)

    def distance(fake: ImageSet) -> Distance:
        chosen = protocol.choose(len(fake), FAKES)
        (store,) = extract(fake, chosen, protocol, resources, set_id=FAKES, stage=fake.name)
        levels = ExtractedLevels(store, resources)
        return measure(
            lambda level: (reals.levels.load(level), levels.load(level)),
            *(protocol, resources, f"distances, {fake.name}"),
        )

    return Distances([distance(fake) for fake in fakes], reals.fresh_patches, reals.disjoint)


def _similarities(
    source: ImageSet | Reals, fakes: Sequence[ImageSet], protocol: Protocol, resources: Resources
) -> Similarities:
    def similarity(images: ImageSet, set_id: int) -> Similarity:
        return diversity(images, protocol, resources, set_id=set_id, stage=f"pairs, {images.name}")

    reals = None
    if isinstance(source, Reals):
        resources.say(f"{source.name}: a cache holds no images, so MS-SSIM is given for the fakes only")
    else:
        reals = similarity(source, REALS)
    return Similarities([similarity(fake, FAKES) for fake in fakes], reals)


def _fidelities(
    source: ImageSet | Reals,
    fakes: Sequence[ImageSet],
    protocol: Protocol,
    resources: Resources,
    metrics: Sequence[str],
) -> list[Fidelity]:
    """By the leading process alone: torch-fidelity does not divide its work."""
    if not resources.world.is_main:
        return []
    reals = None if isinstance(source, Reals) else source
    return [measure_fidelity(reals, fake, protocol, resources, metrics) for fake in fakes]
