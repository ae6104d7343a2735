"""Restoring whole photos: in tiles, with the memory of a few tiles, equal to one pass over the photo.

Equal but for rounding: a tile holds all that its pixels depend on, but PyTorch computes images of different
sizes by different kernels, which on some processors add up in another order. In float64 no value differs; in
float32 none on most processors, on others a few in a hundred thousand by one grey level.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from celebahq.errors import FormatError, ToolError, WrongUse
from celebahq.files import sha256_file
from celebahq.restore.checkpoints import is_own_file, load_network
from celebahq.restore.community import load_community_network
from celebahq.restore.community_networks import CommunityNetwork
from celebahq.restore.networks import Network

Photo = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels, the last two exclusive

WEIGHTS = Path(__file__).parent / "weights"
NAMES = ("jpeg", "sr4x")
FORMER_NAMES = {"sr4x-psnr": "sr4x"}
TILE_PX = {1: 1024, 4: 512}  # input pixels of a tile's core, by scale
TILES_AT_ONCE = {"cpu": 1, "cuda": 4}


class Restorer:
    """A restoration network as a function on photos."""

    def __init__(
        self,
        network: Network | CommunityNetwork,
        name: str,
        sha256: str,
        device: torch.device,
        *,
        dtype: torch.dtype | None = None,
        tile_px: int | None = None,
        strength: float = 1.0,
        exact: bool = True,
    ) -> None:
        """Args: `dtype` of the convolutions, `native_dtype` unless told; `tile_px` core of a tile; `strength`
        the share of a change that is made, and `exact`, see `load_restorer`.

        The network is moved to the device, and to float64 if that is the dtype.
        """
        self.name = name
        """The shipped network's name, or the file's path."""
        self.scale = network.scale
        """Output pixels per input pixel: 1 or 4, with other people's networks also 2 and the like."""
        self.sha256 = sha256
        """Of the weight file; part of a data set's provenance."""
        self.device, self.strength = device, strength
        self.dtype = dtype or native_dtype(device)
        usual_px = network.tile_px if isinstance(network, CommunityNetwork) else TILE_PX[network.scale]
        self.tile_px = tile_px or usual_px
        near = network.halo if isinstance(network, CommunityNetwork) else network.near_halo
        self.halo = network.halo if exact else min(near, network.halo)
        """Input pixels around a tile or box that are looked at."""
        self._full_dtype = torch.promote_types(self.dtype, torch.float32)  # of weights, inputs and sums
        self.network = network.to(device, self._full_dtype)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, photo: Photo, box: Box | None = None) -> Photo:
        """Restore a photo, or the part of it inside `box`.

        Args:
            photo: `(H, W, 3)` RGB or `(H, W)` grey uint8, of any size.
            box: (top, left, bottom, right); the surround that the network looks at is taken from the photo.

        Returns:
            `(scale H, scale W, 3)` or `(scale H, scale W)` uint8; of the box where one is given. What
            is grey stays grey, in three channels too.

        Raises:
            TypeError: No array.
            ValueError: Not such an array, or a box that is empty or leaves the photo.
        """
        if not isinstance(photo, np.ndarray):
            raise TypeError(f"photo: an array is expected, not {type(photo).__name__}; load_photo gives one")
        if photo.dtype != np.uint8 or photo.ndim not in (2, 3) or photo.shape[2:] not in ((), (3,)):
            raise ValueError(f"photo: (H, W, 3) or (H, W) uint8 expected, not {photo.shape} {photo.dtype}")
        if photo.ndim == 2:
            return self(np.repeat(photo[:, :, None], 3, axis=2), box)[..., 0]
        height, width = photo.shape[:2]
        box = box or (0, 0, height, width)
        top, left, bottom, right = box
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise ValueError(f"box: {box} is empty or leaves the photo of {height}x{width}")

        grey = is_grey(photo)  # which a network that knows colours would tint a little
        padded = pad_to_multiple(photo, self.network.multiple)
        scale = self.scale
        result = np.empty((scale * (bottom - top), scale * (right - left), 3), np.uint8)
        for cores in self._batches(box, padded.shape[:2]):
            for core, restored in zip(cores, self._restore(padded, cores), strict=True):
                y0, x0 = max(core[0], top), max(core[1], left)
                y1, x1 = min(core[2], bottom), min(core[3], right)
                inside = scaled((y0 - core[0], x0 - core[1], y1 - core[0], x1 - core[1]), scale)
                into = scaled((y0 - top, x0 - left, y1 - top, x1 - left), scale)
                piece = restored[inside]
                result[into] = piece.mean(axis=2, keepdims=True).round() if grey else piece
        return result

    def _batches(self, box: Box, size: tuple[int, ...]) -> Iterator[list[Box]]:
        """Group the cores of a photo's tiles, neighbours in a row of equal tile size, for one pass each."""
        most = TILES_AT_ONCE[self.device.type]
        batch: list[Box] = []
        for core in tile_cores(box, self.network.multiple, self.tile_px):
            same = batch and tile_size(core, self.halo, size) == tile_size(batch[0], self.halo, size)
            if batch and (not same or len(batch) == most):
                yield batch
                batch = []
            batch.append(core)
        yield batch

    def _restore(self, padded: Photo, cores: list[Box]) -> list[Photo]:
        """Run the network on equal tiles and cut their cores out of the results."""
        tiles = [with_halo(core, self.halo, padded.shape[:2]) for core in cores]
        pixels = self.run(np.stack([padded[t[0] : t[2], t[1] : t[3]] for t in tiles]))
        pairs = zip(cores, tiles, strict=True)
        inside = [(c[0] - t[0], c[1] - t[1], c[2] - t[0], c[3] - t[1]) for c, t in pairs]
        return [image[scaled(box, self.scale)] for image, box in zip(pixels, inside, strict=True)]

    @torch.inference_mode()  # of all that follows: spandrel's results may not be changed outside of it
    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run the network on equal tiles.

        Args:
            batch: `[N, H, W, 3]` uint8, H and W multiples of `network.multiple`.

        Returns:
            `[N, scale H, scale W, 3]` uint8.
        """
        inputs = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2).to(self._full_dtype).div_(255)
        reduced = self.dtype != self._full_dtype
        with torch.autocast(self.device.type, self.dtype, enabled=reduced):
            outputs = self.network(inputs.contiguous(memory_format=torch.channels_last))
        outputs = outputs.to(self._full_dtype)
        if self.strength != 1:
            outputs = inputs.lerp(outputs, self.strength)
        pixels: NDArray[np.uint8] = (
            outputs.mul_(255).round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        )
        return pixels


def is_grey(photo: Photo) -> bool:
    """Whether the three channels of `(H, W, 3)` are equal."""
    red = photo[..., 0]
    return np.array_equal(red, photo[..., 1]) and np.array_equal(red, photo[..., 2])


def scaled(box: Box, scale: int) -> tuple[slice, slice]:
    """A box of input pixels as the index of output pixels."""
    top, left, bottom, right = (scale * edge for edge in box)
    return slice(top, bottom), slice(left, right)


def load_restorer(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    *,
    strength: float = 1.0,
    exact: bool = True,
) -> Restorer:
    """A restoration network, ready to be called on photos.

    Args:
        name_or_path: `jpeg` (artifact removal), `sr4x` (4x; `sr4x-psnr`, its former name, is understood), a
            safetensors file that `tools/train_restorer.py` wrote, or a checkpoint as
            `load_community_network` reads it.
        device: Where it runs.
        strength: For networks that keep the size: share of their change that is made, 0..1. Lower keeps more
            grain, and more artifacts.
        exact: Whether the part inside a box is that of the whole photo. Otherwise only the nearest pixels
            around it are looked at: much faster for small boxes, and a few of 10,000 values differ by a
            grey level.

    Raises:
        ToolError: No such network or file, a package for it is missing, or a strength for one that enlarges.
        FormatError: The file does not hold such weights, or some are not finite.
        ValueError: A strength outside 0..1.

    >>> import celebahq, skimage
    >>> enlarge = celebahq.load_restorer("sr4x")
    >>> enlarge(skimage.data.astronaut()[:32, :48]).shape
    (128, 192, 3)
    """
    name = FORMER_NAMES.get(str(name_or_path), str(name_or_path))
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: {strength} is not in 0..1")
    path = weights_path(name)
    network = load_network(path) if is_own_file(path) else load_community_network(path)
    if not all(bool(weights.isfinite().all()) for weights in network.parameters()):
        raise FormatError(path, "holds weights that are no finite numbers; its pictures would be black")
    sha256 = sha256_file(path)
    if strength != 1.0:
        if network.scale != 1:
            raise WrongUse(name, "it enlarges; a strength is for networks that keep the size")
        name = f"{name}(strength={strength:g})"
        sha256 = hashlib.sha256(f"{strength:g} {sha256}".encode()).hexdigest()
    return Restorer(network, name, sha256, torch.device(device), strength=strength, exact=exact)


def load_stage(
    stage: str, name: str, device: str | torch.device, *, strength: float = 1.0, exact: bool = True
) -> Restorer | None:
    """The network of a stage, which must be of its kind; None where it is left out.

    Args:
        stage: `jpeg_model`, which keeps the size, or `sr_model`, which enlarges.
        name: As for `load_restorer`, or `none`.
        device: As for `load_restorer`, and so are `strength` and `exact`.

    Raises:
        WrongUse: The network enlarges and should not, or should and does not.
        ToolError: As for `load_restorer`.
    """
    if name == "none":
        return None
    restorer = load_restorer(name, device, strength=strength, exact=exact)
    if (restorer.scale == 1) != (stage == "jpeg_model"):
        does = "keeps the size" if restorer.scale == 1 else f"enlarges {restorer.scale} times"
        task = "keep the size" if stage == "jpeg_model" else "enlarge"
        raise WrongUse(f"--{stage.replace('_', '-')} {name}", f"it {does}; this stage's network must {task}")
    return restorer


def weights_path(name_or_path: str) -> Path:
    """The weight file behind a shipped name or a path."""
    path = WEIGHTS / f"{name_or_path}.safetensors" if name_or_path in NAMES else Path(name_or_path)
    if path.is_file():
        return path
    if name_or_path in NAMES:
        raise ToolError(name_or_path, "no weights of that network come with this version; give a file")
    raise ToolError(name_or_path, f"no such weight file; known names are {', '.join(NAMES)}")


def native_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor is faster in it, else float32."""
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        cpuinfo = Path("/proc/cpuinfo")
        native = cpuinfo.exists() and is_faster_in_bfloat16(cpuinfo.read_text())
    return torch.bfloat16 if native else torch.float32


def is_faster_in_bfloat16(cpuinfo: str) -> bool:
    """Whether Linux describes a processor whose convolutions are faster in bfloat16 than in float32.

    Having the instructions is not enough: without AMX, on an Intel processor with AVX-512's instructions
    for bfloat16, convolutions took 1.6 times as long in it.
    """
    words = set(cpuinfo.split())
    return "amx_bf16" in words or {"avx512_bf16", "AuthenticAMD"} <= words


def pad_to_multiple(photo: Photo, multiple: int) -> Photo:
    """Mirror the last rows and columns until both sides are multiples."""
    bottom, right = (-n % multiple for n in photo.shape[:2])
    if not (bottom or right):
        return photo
    return np.pad(photo, ((0, bottom), (0, right), (0, 0)), mode="symmetric")


def tile_cores(box: Box, multiple: int, tile_px: int) -> Iterator[Box]:
    """Cut a box, grown to the multiple, into the fewest cores of at most `tile_px` and nearly equal size."""
    rows, columns = (
        spans(start // multiple, -(-stop // multiple), max(tile_px // multiple, 1))
        for start, stop in ((box[0], box[2]), (box[1], box[3]))
    )
    for top, bottom in rows:
        for left, right in columns:
            yield (top * multiple, left * multiple, bottom * multiple, right * multiple)


def spans(start: int, stop: int, most: int) -> list[tuple[int, int]]:
    """Split `[start, stop)` into the fewest spans of at most `most`, all but the last equally long."""
    count = -(-(stop - start) // most)
    length = -(-(stop - start) // count)
    return [(at, min(at + length, stop)) for at in range(start, stop, length)]


def with_halo(core: Box, halo: int, size: tuple[int, ...]) -> Box:
    """A core and its surround, as far as the photo reaches."""
    top, left, bottom, right = core
    return (max(top - halo, 0), max(left - halo, 0), min(bottom + halo, size[0]), min(right + halo, size[1]))


def tile_size(core: Box, halo: int, size: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a core's tile."""
    top, left, bottom, right = with_halo(core, halo, size)
    return bottom - top, right - left
