"""Whether sets of images can be compared, and at which number and resolution."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from celebahq.errors import ToolError, WrongUse
from swd.method.laplacian import MIN_RESOLUTION
from swd.method.protocol import MAX_IMAGES, Protocol
from swd.method.randomness import FAKES, REALS, image_order
from swd.pipeline.reference import Reference
from swd.pipeline.sources import ImageSet, is_box_factor

COLOURS = {1: "grey", 3: "colour"}


@dataclass(frozen=True)
class Survey:
    """What the images of a set that will be used are like."""

    name: str
    channels: int
    sizes: "Counter[int]"
    """How many images have which side length in pixels."""
    lossy: bool | None = None
    """Whether they come from files with lossy compression, if that is known."""


def choose_protocol(
    reals: ImageSet | Reference,
    fakes: Sequence[ImageSet] = (),
    *,
    images: int | None = None,
    resolution: int | None = None,
    seed: int = 0,
) -> tuple[Protocol, list[str]]:
    """Find the protocol under which sets of images can be compared.

    Args:
        reals: The real images, or their cache, whose protocol then holds.
        fakes: The sets to compare with them.
        images: Per set; unless told, as many as every set has, at most 16,384.
        resolution: Unless told, that of the images, which must be one.
        seed: Key of all randomness.

    Returns:
        The protocol, and what to tell the user about how the images are used.

    Raises:
        ToolError: Too few images, or sizes or channels that cannot be compared.
        WrongUse: The cache was made for something else than is asked, or the pyramid has no such resolution.
        FormatError: An image file is damaged.
    """
    remarks: list[str] = []
    if isinstance(reals, Reference):
        _check_cache(reals, fakes, images=images, resolution=resolution, seed=seed)
        cached = reals.protocol
        count, resolution, seed = cached.images, cached.resolution, cached.seed
        first = Survey(reals.name, cached.channels, Counter({resolution: count}))
    else:
        count, remarks = _count([reals, *fakes], images)
        # As many real images again serve the comparison of reals with reals.
        first = _survey(reals, 2 * count, REALS, seed)
    surveys = [first, *(_survey(fake, count, FAKES, seed) for fake in fakes)]
    protocol, more = _agree(surveys, count, resolution, seed)
    of_sets = [remark for one in (reals, *fakes) if isinstance(one, ImageSet) for remark in one.remarks]
    return protocol, of_sets + remarks + more


def _count(sets: Sequence[ImageSet], images: int | None) -> tuple[int, list[str]]:
    """How many images of each set are used, and what to say about that; the reals are the first set.

    Raises:
        ToolError: A set has fewer than were asked for, or one of several fakes has far fewer than another.
    """
    fewest = min(sets, key=len)
    if images is not None:
        if len(fewest) < images:
            raise ToolError(fewest.name, f"{len(fewest):,} images, but --images asks for {images:,}")
        return images, []
    count = min(MAX_IMAGES, len(fewest))
    fakes = sets[1:]
    if fakes:
        short, long = min(fakes, key=len), max(fakes, key=len)
        if len(short) < min(MAX_IMAGES, len(long)) // 2:
            raise ToolError(
                short.name,
                f"{len(short):,} images, but {long.name} has {len(long):,}, and all sets are compared with "
                f"as many; leave it out, or ask for --images {len(short)}",
            )
    cut = [f"{other.name} has {len(other):,}" for other in sets if len(other) > count]
    if cut and count < MAX_IMAGES:
        return count, [
            f"{count:,} images of each set are used, all that {fewest.name} has ({', '.join(cut)})"
        ]
    return count, []


def _check_cache(
    reals: Reference, fakes: Sequence[ImageSet], *, images: int | None, resolution: int | None, seed: int
) -> None:
    """Check that a cache was made for what is asked, and that there are as many fakes."""
    held = reals.protocol
    asked = {
        "--images": (images, held.images),
        "--resolution": (resolution, held.resolution),
        "--seed": (seed, held.seed),
    }
    for option, (wanted, has) in asked.items():
        if wanted not in (None, has):
            raise WrongUse(
                f"cache of {reals.name}",
                f"made with {option} {has}, not {wanted}; ask for that, or make another",
            )
    for fake in fakes:
        if len(fake) < held.images:
            raise ToolError(
                fake.name,
                f"{len(fake):,} images, but the cache of {reals.name} holds {held.images:,}; "
                f"make one with --images {len(fake)}",
            )


def _survey(image_set: ImageSet, count: int, set_id: int, seed: int) -> Survey:
    """Look at the first `count` images in the set's random order.

    Raises:
        ToolError: Some are not square, or too small, or some grey and some in colour.
    """
    order = image_order(len(image_set), seed=seed, set_id=set_id)
    colours, sizes = Counter[int](), Counter[int]()
    for (channels, height, width), number in image_set.shapes(order[:count].tolist()).items():
        if height != width:
            raise ToolError(
                image_set.name,
                f"{number:,} of the images are {width}x{height} px; "
                "the metric compares square images: celebahq build makes them of the faces in photos, "
                "celebahq import folder --resize --center-crop of other pictures",
            )
        colours[channels] += number
        sizes[height] += number
    if min(sizes) < MIN_RESOLUTION:
        raise ToolError(
            image_set.name, f"images of {min(sizes)} px; the metric needs at least {MIN_RESOLUTION} px"
        )
    unknown = [channels for channels in colours if channels not in COLOURS]
    if unknown:
        raise ToolError(
            image_set.name, f"images of {unknown[0]} channels; the metric compares grey images or colour ones"
        )
    if len(colours) > 1:
        raise ToolError(
            image_set.name, f"{colours[1]:,} grey images among {colours[3]:,} in colour; convert one kind"
        )
    return Survey(image_set.name, next(iter(colours)), sizes, image_set.lossy)


def _agree(surveys: Sequence[Survey], count: int, asked: int | None, seed: int) -> tuple[Protocol, list[str]]:
    """The protocol of what was surveyed, and remarks on it."""
    if len({survey.channels for survey in surveys}) > 1:
        kinds = ", ".join(f"{survey.name}: {COLOURS[survey.channels]}" for survey in surveys)
        raise ToolError(f"grey and colour images cannot be compared ({kinds}); convert one side")
    resolution = _only_size(surveys) if asked is None else asked
    if resolution < MIN_RESOLUTION or resolution & (resolution - 1):
        raise (ToolError if asked is None else WrongUse)(
            f"{resolution} px",
            f"the pyramid needs a power of two, at least {MIN_RESOLUTION} px; --resolution "
            f"{_power_below(resolution)} compares at that",
        )
    remarks = [remark for survey in surveys for remark in _reductions(survey, resolution)]
    return Protocol(count, resolution, surveys[0].channels, seed), remarks + _compression(surveys)


def _only_size(surveys: Sequence[Survey]) -> int:
    """The size of all images of all sets.

    Raises:
        ToolError: There is more than one.
    """
    smallest = min(min(survey.sizes) for survey in surveys)
    remedy = f"--resolution {_power_below(smallest)} compares them at one"
    for survey in surveys:
        if len(survey.sizes) > 1:
            counts = ", ".join(f"{number:,} of {size} px" for size, number in survey.sizes.most_common(3))
            raise ToolError(survey.name, f"images of different sizes ({counts}); {remedy}")
    if len({size for survey in surveys for size in survey.sizes}) > 1:
        listing = ", ".join(f"{survey.name}: {next(iter(survey.sizes))} px" for survey in surveys)
        raise ToolError(f"the sets differ in size ({listing}); {remedy}")
    return smallest


def _power_below(size: int) -> int:
    """The largest power of two up to `size`, at least the metric's smallest."""
    return max(MIN_RESOLUTION, 1 << (size.bit_length() - 1))


def _reductions(survey: Survey, resolution: int) -> list[str]:
    """What is said about images that are not of the comparison's resolution.

    Raises:
        ToolError: Some are smaller.
    """
    remarks = []
    for size, number in sorted(survey.sizes.items()):
        if size < resolution:
            raise ToolError(
                survey.name,
                f"{number:,} images of {size} px, but --resolution asks for {resolution} px; "
                "images are never enlarged",
            )
        if size > resolution:
            how = "a box filter" if is_box_factor(size, resolution) else "Lanczos"
            remarks.append(f"{survey.name}: {number:,} images from {size} to {resolution} px by {how}")
    return remarks


def _compression(surveys: Sequence[Survey]) -> list[str]:
    """A warning where some sets' files have lossy compression and others' have not."""
    lossy = [survey.name for survey in surveys if survey.lossy]
    lossless = [survey.name for survey in surveys if survey.lossy is False]
    if not (lossy and lossless):
        return []
    return [
        f"warning: {', '.join(lossy)}: JPEG or WebP files, {', '.join(lossless)}: lossless ones; "
        "the traces of compression alone make the finest level differ"
    ]
