"""The formats of tools/fuzz.py: a small file of each, made by code, and the reader that the commands use."""

import gzip
import hashlib
import io
import json
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from celebahq.errors import FormatError
from celebahq.options import ImportOptions
from celebahq.pictures.decoding import decode_photo
from celebahq.pyramid import PyramidReader, PyramidWriter, level_name, mip_levels
from celebahq.pyramid_tools.inspection import describe_pyramid, render_facts
from celebahq.pyramid_tools.verification import verify_pyramid
from celebahq.readers.npy import map_npy
from celebahq.readers.tfrecords import CHECKSUM, LENGTH, _masked_crc, encode_record
from celebahq.restore.ncnn import FP16_TAG, MAGIC, read_convolutions
from celebahq.sources.celeba import LANDMARK_COLUMNS, index_celeba
from celebahq.sources.data_set import open_data_set
from swd.comparison import make_cache
from swd.pipeline.cache import load_cache
from swd.pipeline.resources import Resources
from trainer.configuration.config import TrainingConfig
from trainer.configuration.settings import from_dict, load_config, save_config
from trainer.legacy.conversion import load_legacy_pickle
from trainer.networks.models import build_generator
from trainer.storage.checkpoint import STATE_FORMAT, read_tensors, write_tensors
from trainer.use.snapshot import Snapshot, load_snapshot, save_snapshot

PARTIAL = ImportOptions(partial=True, resolution=16)


@dataclass(frozen=True)
class Format:
    """One kind of file."""

    name: str
    write: Callable[[Path], Path]
    """Makes the file in a folder, with whatever belongs beside it."""
    read: Callable[[Path], str]
    """Reads it; what it says in full, as text or a digest."""
    checked: bool
    """Its checksums cover everything that is read."""
    inside: tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]] | None = None
    """Unpacks to what lies below a checksum, and packs it again."""
    folders: tuple[str, ...] = ()
    """Empty ones that belong beside the file."""


def images(count: int, channels: int, size: int) -> NDArray[np.uint8]:
    """Always the same images `[N, C, size, size]`, half of them smooth."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (count, channels, size, size), dtype=np.uint8)
    noise[::2] = np.arange(size, dtype=np.uint8) * 3
    return noise


def digest(*values: Any) -> str:
    """SHA-256 of arrays and plain values."""
    result = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            result.update(f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        else:
            result.update(repr(value).encode("utf-8", "surrogatepass"))
    return result.hexdigest()


def png(image: NDArray[np.uint8]) -> bytes:
    """A PNG of `[C, H, W]`."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(file, "png")
    return file.getvalue()


def write_pyramid(codec: str, folder: Path) -> Path:
    """A file of this toolkit's."""
    with PyramidWriter(folder / "a.h5", 32, codec=codec, provenance={"source": "noise"}) as writer:
        writer.append(images(3, 3, 32), np.eye(3), {"name": list("abc"), "quad": np.ones((3, 4, 2))})
    return folder / "a.h5"


def read_pyramid(path: Path) -> str:
    """What `inspect` and `verify` do, and all images."""
    render_facts(describe_pyramid(path))
    problems = verify_pyramid(path)
    if problems:
        raise FormatError(path, f"{len(problems)} problems")
    return read_everything(path)


def read_everything(path: Path) -> str:
    """All levels, labels, facts and the provenance of a pyramid file."""
    with PyramidReader(path, threads=1) as reader:
        levels = [reader.read(range(min(len(reader), 8)), r) for r in reader.levels]
        facts = [(name, reader.meta(name).tolist()) for name in sorted(reader.meta_names)]
        return digest(len(reader), *levels, reader.labels, facts, reader.provenance)


def write_original(options: dict[str, Any], folder: Path) -> Path:
    """The original's layout."""
    with h5py.File(folder / "a.h5", "w") as file:
        for level in mip_levels(images(3, 3, 16)):
            file.create_dataset(level_name(level.shape[2]), data=level, chunks=True, **options)
    np.save(folder / "a-labels.npy", np.eye(3))
    return folder / "a.h5"


def write_npy(folder: Path) -> Path:
    """An array."""
    np.save(folder / "a.npy", np.arange(60, dtype=np.float32).reshape(3, 20))
    return folder / "a.npy"


def read_npy(path: Path) -> str:
    """As labels are read."""
    array = map_npy(path)
    return digest(np.array(array)) if array.nbytes < 1 << 20 else str(array.shape)


def write_idx(folder: Path) -> Path:
    """MNIST."""
    for prefix in ("train",):
        head = struct.pack(">4I", 0x803, 5, 28, 28)
        digits = head + images(5, 1, 28).tobytes()
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(digits, mtime=0))
        labels = struct.pack(">2I", 0x801, 5) + bytes(range(5))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels, mtime=0))
    return folder / "train-images-idx3-ubyte.gz"


def write_cifar(protocol: int, folder: Path) -> Path:
    """One of CIFAR-100's batches."""
    batch = {
        "data": images(3, 3, 32).reshape(3, 3072),
        "filenames": list("abc"),
        "fine_labels": [1, 2, 99],
    }
    (folder / "train").write_bytes(pickle.dumps(batch, protocol))
    return folder / "train"


def write_mat(folder: Path) -> Path:
    """SVHN."""
    from scipy.io import savemat

    content = {"X": images(2, 3, 32).transpose(2, 3, 1, 0), "y": np.array([[10], [3]], np.uint8)}
    savemat(folder / "train_32x32.mat", content, do_compression=False)
    return folder / "train_32x32.mat"


def write_lmdb(folder: Path) -> Path:
    """LSUN."""
    import lmdb

    picture = png(images(1, 3, 16)[0])
    database = lmdb.open(str(folder), map_size=1 << 20, lock=False)
    with database, database.begin(write=True) as transaction:
        for number in range(20):
            transaction.put(b"%03d" % number, picture)
    return folder / "data.mdb"


def write_zip(compression: int, folder: Path) -> Path:
    """Pictures and labels."""
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for i, image in enumerate(images(3, 3, 16)):
            archive.writestr(zipfile.ZipInfo(f"{i}.png"), png(image), compression)
        labels = {"labels": [[f"{i}.png", i] for i in range(3)]}
        archive.writestr(zipfile.ZipInfo("dataset.json"), json.dumps(labels), compression)
    return folder / "a.zip"


def write_labels(folder: Path) -> Path:
    """`dataset.json` beside pictures."""
    for i, image in enumerate(images(3, 3, 16)):
        (folder / f"{i}.png").write_bytes(png(image))
    (folder / "dataset.json").write_text(json.dumps({"labels": [[f"{i}.png", [i, 0.5]] for i in range(3)]}))
    return folder / "dataset.json"


def write_tfrecord(folder: Path) -> Path:
    """One record."""
    (folder / "a-r03.tfrecords").write_bytes(encode_record(images(1, 3, 8)[0]))
    return folder / "a-r03.tfrecords"


def pack_record(example: bytes) -> bytes:
    """A record around any bytes."""
    length = LENGTH.pack(len(example))
    return length + _masked_crc(length) + example + _masked_crc(example)


def read_set(source: str, path: Path) -> str:
    """As `import` reads it."""
    found = open_data_set(source, path, PARTIAL)
    found.load()
    said: list[Any] = [found.resolution, found.channels, len(found)]
    for index in range(min(len(found), 20)):
        example = found.read(index)
        said += [example.image, example.label, found.image_name(index)]
    return digest(*said)


def write_landmarks(folder: Path) -> Path:
    """CelebA's list."""
    (folder / "img_celeba").mkdir()
    (folder / "Anno").mkdir()
    rows = [f"00000{i}.jpg " + " ".join(str(100 + i + j) for j in range(10)) for i in range(1, 4)]
    path = folder / "Anno" / "list_landmarks_celeba.txt"
    path.write_text("\n".join(["3", " ".join(LANDMARK_COLUMNS), *rows, ""]))
    return path


def read_landmarks(path: Path) -> str:
    """As `build` reads it."""
    index = index_celeba(path.parent.parent)
    return digest(index.names, index.landmarks)


def tiny_config() -> TrainingConfig:
    """The smallest networks."""
    sizes = {"resolution": 8, "fmap_base": 16, "fmap_max": 4}
    return from_dict(
        TrainingConfig,
        {
            "name": "tiny",
            "generator": {**sizes, "latent_size": 4},
            "discriminator": sizes,
            "schedule": {"resolution": 8},
        },
    )


def write_state(folder: Path) -> Path:
    """A training state, as far as its file goes."""
    write_tensors(
        folder / "a.safetensors", STATE_FORMAT, {"G": {"w": torch.arange(12.0)}}, {"nimg": 1}, "run"
    )
    return folder / "a.safetensors"


def read_state(path: Path) -> str:
    """A training state."""
    content = read_tensors(path, STATE_FORMAT)
    return digest(content.facts, content.run, {name: t.tolist() for name, t in content.tensors.items()})


def write_snapshot(folder: Path) -> Path:
    """A snapshot."""
    torch.manual_seed(0)
    config = tiny_config()
    save_snapshot(folder / "a.safetensors", Snapshot(build_generator(config), config, 1, 0.0, None))
    return folder / "a.safetensors"


def read_snapshot(path: Path) -> str:
    """A snapshot, down to an image."""
    snapshot = load_snapshot(path)
    return digest(snapshot.nimg, snapshot.generate(0, [0]).numpy())


def write_config(folder: Path) -> Path:
    """A run's configuration."""
    save_config(tiny_config(), folder / "config.json")
    return folder / "config.json"


def read_config(path: Path) -> str:
    """A run's configuration."""
    return digest(load_config(path))


def write_network(folder: Path) -> Path:
    """What of a network pickle comes before the variables must fit a network."""
    module = types.ModuleType("tfutil")
    module.Network = type("Network", (), {"__module__": "tfutil", "__qualname__": "Network"})  # type: ignore[attr-defined]
    sys.modules["tfutil"] = module
    try:
        networks = []
        for function in ("G_paper", "D_paper", "G_paper"):
            network = module.Network()
            network.__dict__ = {
                "static_kwargs": {"num_channels": 3, "resolution": 4},
                "build_func_name": function,
                "variables": [("lod", np.float32(0)), ("4x4/Dense/bias", np.zeros(8, np.float32))],
            }
            networks.append(network)
        (folder / "a.pkl").write_bytes(pickle.dumps(tuple(networks), 4))
    finally:
        del sys.modules["tfutil"]
    return folder / "a.pkl"


def read_network(path: Path) -> str:
    """As `trainer import` reads it; the networks are not complete, which is one line as well."""
    try:
        load_legacy_pickle(path)
    except FormatError as err:
        return str(err).removeprefix(str(path))
    return "read"


def write_cache(folder: Path) -> Path:
    """What `swd cache` keeps of the reals."""
    with PyramidWriter(folder / "reals.h5", 16) as writer:
        writer.append(images(4, 3, 16))
    make_cache(
        folder / "reals.h5", folder / "a.safetensors", images=2, resources=Resources(torch.device("cpu"))
    )
    (folder / "reals.h5").unlink()
    return folder / "a.safetensors"


def read_cache(path: Path) -> str:
    """All that a comparison takes from a cache."""
    reals = load_cache(path, torch.device("cpu"))
    levels = [reals.levels.load(level).numpy() for level in range(len(reals.protocol.resolutions))]
    own = [(*level.images.values(), level.directions) for level in reals.own.levels] if reals.own else []
    sample = reals.sample.members.numpy(), reals.sample.clusters.numpy()
    distances = reals.fresh_patches, reals.disjoint, reals.disjoint_corrected
    return digest(*levels, *sample, [[t.tolist() for t in level] for level in own], reals.protocol, distances)


def write_ncnn(damaged: str, folder: Path) -> Path:
    """Two convolutions, a text and their numbers."""
    lines = [f"Convolution c{i} 1 1 a b 0=4 1=3 4=1 5=1 6={4 * 3 * 9}" for i in range(2)]
    (folder / "a.param").write_text("\n".join([MAGIC, "2 3", *lines, ""]))
    weights = np.linspace(-1, 1, 4 * 3 * 9, dtype=np.float16).tobytes()
    layer = FP16_TAG.to_bytes(4, "little") + weights + np.ones(4, np.float32).tobytes()
    (folder / "a.bin").write_bytes(2 * layer)
    return folder / damaged


def read_ncnn(path: Path) -> str:
    """The convolutions, as `--sr-model` reads them."""
    layers = read_convolutions(path.with_suffix(".bin"))
    return digest(*(tensor.numpy() for layer in layers for tensor in layer))


def write_picture(kind: str, folder: Path) -> Path:
    """A photo."""
    Image.fromarray(images(1, 3, 32)[0].transpose(1, 2, 0)).save(folder / f"a.{kind}")
    return folder / f"a.{kind}"


def read_picture(path: Path) -> str:
    """A photo."""
    with path.open("rb") as file:
        return digest(decode_photo(file, str(path)))


def _formats() -> list[Format]:
    folder_of = lambda source: lambda path: read_set(source, path.parent)  # noqa: E731
    file_of = lambda source: lambda path: read_set(source, path)  # noqa: E731
    gzipped = gzip.decompress, partial(gzip.compress, mtime=0)
    pyramids = [
        Format(f"pyramid-{codec}", partial(write_pyramid, codec), read_pyramid, checked=True)
        for codec in ("gzip", "lzf", "bitshuffle")
    ]
    original = write_original
    return [
        *pyramids,
        Format("hdf5-gzip", partial(original, {"compression": "gzip"}), file_of("hdf5"), checked=False),
        Format(
            "hdf5-filters",
            partial(original, {"compression": "lzf", "shuffle": True, "fletcher32": True}),
            file_of("hdf5"),
            checked=False,
        ),
        Format("npy", write_npy, read_npy, checked=False),
        Format("mnist", write_idx, folder_of("mnist"), checked=True, inside=gzipped),
        Format("cifar-2", partial(write_cifar, 2), folder_of("cifar100"), checked=False),
        Format("cifar-4", partial(write_cifar, 4), folder_of("cifar100"), checked=False),
        Format("svhn", write_mat, folder_of("svhn"), checked=False),
        Format("lsun", write_lmdb, folder_of("lsun"), checked=False),
        Format("zip-deflate", partial(write_zip, zipfile.ZIP_DEFLATED), file_of("zip"), checked=False),
        Format("zip-lzma", partial(write_zip, zipfile.ZIP_LZMA), file_of("zip"), checked=False),
        Format("dataset.json", write_labels, folder_of("folder"), checked=False),
        Format(
            "tfrecord",
            write_tfrecord,
            folder_of("tfrecord"),
            checked=True,
            inside=(lambda data: data[LENGTH.size + CHECKSUM.size : -CHECKSUM.size], pack_record),
        ),
        Format("celeba", write_landmarks, read_landmarks, checked=False, folders=("img_celeba",)),
        Format("state", write_state, read_state, checked=True),
        Format("snapshot", write_snapshot, read_snapshot, checked=True),
        Format("config.json", write_config, read_config, checked=False),
        Format("network.pkl", write_network, read_network, checked=False),
        Format("swd-cache", write_cache, read_cache, checked=True),
        Format("ncnn.param", partial(write_ncnn, "a.param"), read_ncnn, checked=False),
        Format("ncnn.bin", partial(write_ncnn, "a.bin"), read_ncnn, checked=False),
        *(
            Format(kind, partial(write_picture, kind), read_picture, checked=False)
            for kind in ("jpg", "png", "webp", "tif", "gif", "bmp")
        ),
    ]


FORMATS = {form.name: form for form in _formats()}
