"""Sets of fakes against the reals: what `swd.compare`, `swd compare`, `swd track` and `swd cache` do."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from celebahq.errors import ToolError, WrongUse
from celebahq.files import atomic_path, make_folder, refuse_existing
from celebahq.jobs.progress import Progress, silent
from celebahq.processes import choose_device, join_world, processes_here
from celebahq.threads import processors
from swd.diversity import Similarity, measure_diversity
from swd.fidelity import measure_fidelity, require_torch_fidelity
from swd.inputs import check_pairs, open_fakes, open_reals, open_set, place_of
from swd.method.protocol import Protocol
from swd.method.randomness import FAKES, REALS
from swd.pipeline.cache import SUFFIX, cache_bytes, is_cache, save_cache
from swd.pipeline.distance import summarize
from swd.pipeline.extraction import say_copies
from swd.pipeline.fakes import measure_fakes
from swd.pipeline.reference import Reference, prepare_reference
from swd.pipeline.resources import ALONE, Resources
from swd.pipeline.room import require_room
from swd.pipeline.sources import ImageSet
from swd.protocol_choice import choose_protocol
from swd.report import Report, Result

METRICS = ("swd", "msssim", "fid", "is")
"""What can be measured."""


def compare(
    real: Any,
    fake: Any,
    *,
    images: int | None = None,
    resolution: int | None = None,
    seed: int = 0,
    metrics: Sequence[str] = ("swd",),
    baseline: str | None = None,
    paired: bool = False,
    device: str | torch.device = "auto",
    threads: int | None = None,
    on_progress: Progress = silent,
    resources: Resources | None = None,
) -> Report:
    """Compare sets of generated images with the real ones, in this process alone.

    A set is a path (an HDF5 pyramid, folder, zip, npz or npy of images), an `ImageSet`, a NumPy array or
    torch tensor uint8 `[N, C, H, W]` or `[N, H, W, C]`, or a torch `Dataset` or `DataLoader` of such images.

    Args:
        real: The real images: a set, or the path of a cache that `swd cache` made of one.
        fake: A set of generated ones, a list of sets, or a dict of sets by their names in the report.
        images: Per set; unless told, as many as every set has, at most 16,384.
        resolution: Unless told, that of the images, which must be one.
        seed: Key of all randomness.
        metrics: Some of `swd`, `msssim`, `fid`, `is`.
        baseline: Name of the set that the others' differences are to; the first unless told.
        paired: Whether images at the same place of the sets of fakes belong together (the same latents, say),
            so that what they have in common cancels in the differences' errors.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: One per processor unless told.
        on_progress: Called as the work goes on, with a `celebahq.jobs.progress.Stage`.
        resources: Instead of these three, where more is done with them.

    Raises:
        ToolError: The sets cannot be compared.
        FormatError: A file is damaged.
        MissingExtraError: A metric needs a package that is not installed.
        ValueError: There is no such metric.

    >>> import numpy as np
    >>> import swd
    >>> draw = np.random.default_rng(0).integers
    >>> real, fake = draw(0, 256, (2, 10, 16, 16, 3), np.uint8)
    >>> report = swd.compare(real, fake, device="cpu")
    >>> report.rows[0].distance.average.se > 0
    True
    """
    for metric in metrics:
        if metric not in METRICS:
            raise ValueError(f"metrics: {metric!r} is not one of {', '.join(METRICS)}")
    with nullcontext(resources) if resources else open_resources(device, threads, on_progress) as given:
        inception = [metric for metric in ("fid", "is") if metric in metrics]
        if inception:
            require_torch_fidelity()  # now, rather than after an hour
        source = open_reals(real, given.device)
        if isinstance(source, Reference) and "fid" in metrics:
            raise WrongUse(str(real), "FID needs the real images themselves, not their cache")
        fakes = open_fakes(fake)
        first = place_of(baseline, fakes)
        if paired:
            check_pairs(fakes)
        protocol, remarks = choose_protocol(source, fakes, images=images, resolution=resolution, seed=seed)
        for remark in remarks:
            given.say(remark)
        rows = [Result(fake.name, protocol.images) for fake in fakes]
        if "swd" in metrics:
            rows = _distances(source, fakes, protocol, given, baseline=first, paired=paired)
        if "msssim" in metrics:
            rows = _with_similarities(rows, source, fakes, protocol, given)
        if inception and given.world.is_main:  # torch-fidelity does not divide its work
            reals = None if isinstance(source, Reference) else source
            found = [measure_fidelity(reals, fake, protocol, given, inception) for fake in fakes]
            rows = [replace(row, fidelity=one) for row, one in zip(rows, found, strict=False)] + rows[
                len(fakes) :
            ]
        return Report(source.name, protocol, rows, fakes[first].name if len(fakes) > 1 else None)


@contextmanager
def open_resources(
    device: str | torch.device = "auto",
    threads: int | None = None,
    on_progress: Progress = silent,
    *,
    together: bool = False,
) -> Iterator[Resources]:
    """What there is to compute with; arguments as for `compare`.

    Args:
        device: As for `compare`.
        threads: As for `compare`.
        on_progress: As for `compare`.
        together: Whether the processes that `torchrun` started share the work, each of which is then here.
    """
    workers = threads or max(1, processors() // processes_here())
    chosen = choose_device(device) if isinstance(device, str) else device
    before = torch.get_num_threads()
    torch.set_num_threads(workers)
    try:
        with join_world(chosen) if together else nullcontext(ALONE) as world:
            yield Resources(chosen, workers, world, on_progress)
    finally:
        torch.set_num_threads(before)


def make_cache(
    real: Any,
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
        ToolError: The images do not allow it, or `out` exists, or is being made by another process.
        FormatError: A file is damaged.
    """
    if not is_cache(out):
        raise ToolError(str(out), f"the name of a cache ends in {SUFFIX}, by which it is known")
    refuse_existing(out, overwrite=overwrite)
    source = open_set(real)
    protocol, remarks = choose_protocol(source, images=images, resolution=resolution, seed=seed)
    make_folder(out.parent)
    require_room(
        out.parent, cache_bytes(protocol), "descriptors", "choose another place, or use fewer --images"
    )
    remarks.append(
        f"{out}: {cache_bytes(protocol) / 1e9:.2g} GB, {cache_bytes(protocol, levels=1) / 1e9:.2g} GB "
        f"for each of {len(protocol.resolutions)} levels"
    )
    for remark in remarks:
        resources.say(remark)
    # Before the work: a second process for the same name is refused at once. One process writes.
    with atomic_path(out) if resources.world.is_main else nullcontext(Path(os.devnull)) as partial:
        save_cache(partial, prepare_reference(source, protocol, resources))
    return protocol


def _distances(
    source: ImageSet | Reference,
    fakes: Sequence[ImageSet],
    protocol: Protocol,
    resources: Resources,
    *,
    baseline: int,
    paired: bool,
) -> list[Result]:
    """The fakes' distances to the reals, and the reals' to themselves."""
    if isinstance(source, Reference):
        reference = source
        say_copies(source.name, source.sample.clusters[source.sample.members], resources)
    else:
        reference = prepare_reference(source, protocol, resources)
    measured = measure_fakes(reference, fakes, resources, paired=paired)
    first, resolutions, count = measured[baseline].levels, protocol.resolutions, protocol.images
    rows = []
    for place, (fake, one) in enumerate(zip(fakes, measured, strict=True)):
        difference = [level - other for level, other in zip(one.levels, first, strict=True)]
        rows.append(
            Result(
                fake.name,
                count,
                distance=summarize(one.levels, resolutions, count),
                corrected=summarize(one.corrected, resolutions, count) if one.corrected else None,
                difference=summarize(difference, resolutions, count) if place != baseline else None,
            )
        )
    rows.append(Result("reals, fresh patches", count, "fresh patches", reference.fresh_patches))
    if reference.disjoint is not None:
        half = reference.disjoint.images
        rows.append(
            Result(
                f"reals, disjoint {half:,}",
                half,
                "disjoint",
                reference.disjoint,
                reference.disjoint_corrected,
            )
        )
    return rows


def _with_similarities(
    rows: Sequence[Result],
    source: ImageSet | Reference,
    fakes: Sequence[ImageSet],
    protocol: Protocol,
    resources: Resources,
) -> list[Result]:
    """The rows, with how alike the images of each set of fakes are, and a row of the reals' unless cached."""

    def similarity(images: ImageSet, set_id: int) -> Similarity:
        return measure_diversity(images, protocol, resources, set_id=set_id, stage=f"pairs, {images.name}")

    of_fakes = [similarity(fake, FAKES) for fake in fakes]
    result = [replace(row, similarity=one) for row, one in zip(rows, of_fakes, strict=False)]
    result += rows[len(fakes) :]
    if isinstance(source, Reference):
        resources.say(f"{source.name}: a cache holds no images, so MS-SSIM is given for the fakes only")
        return result
    return [*result, Result("reals", protocol.images, "reals", similarity=similarity(source, REALS))]
