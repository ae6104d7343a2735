"""Fixtures of the data set tests; most of all, small data sets in the true layout of each source."""

import gzip
import io
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import matplotlib
import numpy as np
import pytest
import skimage
from building import NO_NETWORKS, build
from PIL import Image

from celebahq.pyramid import PyramidReader, mip_levels
from celebahq.readers.tfrecords import encode_record
from celebahq.sources.data_set import ImportOptions

RNG = np.random.default_rng(0)


class Layout(NamedTuple):
    """A small data set: options to read it with, its images `[N, C, r, r]` and labels `[N, L]`."""

    options: ImportOptions
    images: np.ndarray
    labels: np.ndarray | None


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    """A PNG of `[C, H, W]`."""
    file = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(file, "png")
    return file.getvalue()


def write_folder(path: Path) -> Layout:
    images = noise(6, 3, 16, 16)
    for i, image in enumerate(images):
        folder = path / "cat" if i < 4 else path / "dog"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.png").write_bytes(png(image))
    return Layout(ImportOptions(folder_labels=True), images, np.eye(2)[[0, 0, 0, 0, 1, 1]])


def write_zip(path: Path) -> Layout:
    images = noise(6, 1, 16, 16)
    with zipfile.ZipFile(path, "w") as archive:
        for i in reversed(range(6)):
            archive.writestr(f"00000/img{i:08d}.png", png(images[i]))
        labels = [[f"00000/img{i:08d}.png", i % 3] for i in range(6)]
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    return Layout(ImportOptions(), images, np.eye(3)[np.arange(6) % 3])


def write_celeba(path: Path) -> Layout:
    (path / "img_align_celeba_png").mkdir(parents=True)
    photos = noise(3, 3, 218, 178)
    for i, photo in enumerate(photos):
        (path / "img_align_celeba_png" / f"{i + 1:06d}.png").write_bytes(png(photo))
    return Layout(ImportOptions(partial=True), photos[:, :, 57:185, 25:153], None)


def cifar_batch(images: np.ndarray, **labels: list[int]) -> bytes:
    names = [b"image_s_%06d.png" % RNG.integers(1_000_000) for _ in images]
    batch = {b"data": images.reshape(len(images), 3072), b"filenames": names, b"batch_label": b"a batch"}
    return pickle.dumps(batch | {name.encode(): values for name, values in labels.items()}, protocol=2)


def write_cifar10(path: Path) -> Layout:
    (path / "cifar-10-batches-py").mkdir(parents=True)
    images, classes = noise(10, 3, 32, 32), list(range(10))
    for i in range(5):
        part = slice(2 * i, 2 * i + 2)
        file = path / "cifar-10-batches-py" / f"data_batch_{i + 1}"
        file.write_bytes(cifar_batch(images[part], labels=classes[part]))
    return Layout(ImportOptions(partial=True), images, np.eye(10))


def write_cifar100(path: Path) -> Layout:
    path.mkdir()
    images, fine = noise(4, 3, 32, 32), [99, 0, 50, 7]
    (path / "test").write_bytes(cifar_batch(images, fine_labels=fine, coarse_labels=[1, 2, 3, 4]))
    return Layout(ImportOptions(split="test", partial=True), images, np.eye(100)[fine])


def write_digits(path: Path, prefix: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    path.mkdir()
    digits, classes = noise(count, 28, 28), np.arange(count, dtype=np.uint8) % 10
    head = struct.pack(">4I", 0x803, count, 28, 28)
    (path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + digits.tobytes()))
    head = struct.pack(">2I", 0x801, count)
    (path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + classes.tobytes()))
    return np.pad(digits, ((0, 0), (2, 2), (2, 2))), classes


def write_mnist(path: Path) -> Layout:
    padded, classes = write_digits(path, "t10k", 12)
    return Layout(ImportOptions(split="test", partial=True), padded[:, None], np.eye(10)[classes])


def write_mnist_rgb(path: Path) -> Layout:
    padded, _ = write_digits(path, "train", 50)
    random = np.random.RandomState(123)  # as the data set is defined: one call per image
    images = np.stack([padded[random.randint(50, size=3)] for _ in range(200)])
    return Layout(ImportOptions(partial=True), images, None)


def write_svhn(path: Path) -> Layout:
    from scipy.io import savemat

    path.mkdir()
    images = noise(4, 3, 32, 32)
    labels = np.array([[10], [1], [9], [3]], np.uint8)
    savemat(path / "train_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": labels})
    return Layout(ImportOptions(partial=True), images, np.eye(10)[[0, 1, 9, 3]])


def write_lsun(path: Path) -> Layout:
    import lmdb

    images = noise(3, 3, 32, 32)
    wide = np.pad(images[1], ((0, 0), (0, 0), (5, 6)))
    high = np.pad(images[2], ((0, 0), (4, 4), (0, 0)))
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, image in ((b"c" * 40, high), (b"a" * 40, images[0]), (b"b" * 40, wide)):
            transaction.put(key, png(image))
    return Layout(ImportOptions(resolution=32), images, None)


def write_hdf5(path: Path) -> Layout:
    images = noise(5, 3, 16, 16)
    with h5py.File(path, "w") as file:
        for level in mip_levels(images):
            file[f"data{level.shape[2]}x{level.shape[2]}"] = level
    np.save(path.with_name(f"{path.stem}-labels.npy"), np.eye(5))
    return Layout(ImportOptions(), images, np.eye(5))


def write_tfrecord(path: Path) -> Layout:
    path.mkdir()
    images = noise(5, 3, 16, 16)
    for level in mip_levels(images)[:3]:
        name = f"noise-r{level.shape[2].bit_length() - 1:02d}.tfrecords"
        (path / name).write_bytes(b"".join(encode_record(image) for image in level))
    with (path / "noise-rxx.labels").open("wb") as file:
        np.save(file, np.eye(5, dtype=np.float32))
    return Layout(ImportOptions(), images, np.eye(5))


WRITERS: dict[str, Callable[[Path], Layout]] = {
    "folder": write_folder,
    "zip": write_zip,
    "celeba": write_celeba,
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "mnist": write_mnist,
    "mnist-rgb": write_mnist_rgb,
    "svhn": write_svhn,
    "lsun": write_lsun,
    "hdf5": write_hdf5,
    "tfrecord": write_tfrecord,
}


@pytest.fixture(scope="session")
def writers() -> dict[str, Callable[[Path], Layout]]:
    """Name of a source -> what writes a small one; every source must have one."""
    return WRITERS


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Two faces; beside them what is found in real folders."""
    folder = tmp_path_factory.mktemp("photos")
    astronaut = Path(skimage.__file__).parent / "data" / "astronaut.png"
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    (folder / "more").mkdir()
    shutil.copy(astronaut, folder / "b.png")
    shutil.copy(hopper, folder / "a.jpg")
    shutil.copy(hopper, folder / "more" / "again.jpg")
    Image.open(astronaut).convert("RGB").resize((400, 400)).save(folder / "smaller.jpg", quality=80)
    (folder / "broken.jpg").write_bytes(hopper.read_bytes()[:20000])
    Image.linear_gradient("L").resize((300, 300)).save(folder / "sky.png")
    (folder / "notes.txt").write_text("not a photo")
    return folder


@pytest.fixture(scope="session")
def built(photos, tmp_path_factory):
    """The folder of a finished build, and how it ended."""
    out = tmp_path_factory.mktemp("built") / "faces.h5"
    result = build(
        "--photos", photos, "--out", out, "--resolution", 256, "--workers", 2, "--json", *NO_NETWORKS
    )
    return out, result


@pytest.fixture(scope="session")
def celeba(photos, built, tmp_path_factory):
    """A folder of CelebA's shape with the same two photos; one with an EXIF orientation to be ignored."""
    folder = tmp_path_factory.mktemp("celeba")
    (folder / "img_celeba").mkdir()
    (folder / "Anno").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photos / "a.jpg").save(folder / "img_celeba" / "000001.jpg", quality=95, exif=exif)
    Image.open(photos / "b.png").convert("RGB").save(folder / "img_celeba" / "000002.jpg", quality=95)
    (folder / "img_celeba" / "000003.jpg").touch()
    points = np.rint(PyramidReader(built[0]).meta("landmarks")).astype(int)
    points = np.concatenate([points, points[:1]])
    columns = [f"{p}_{a}" for p in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for a in "xy"]
    rows = [f"{i:06d}.jpg  " + "  ".join(map(str, row.ravel())) for i, row in enumerate(points, 1)]
    (folder / "Anno" / "list_landmarks_celeba.txt").write_text("\n".join(["3", " ".join(columns), *rows, ""]))
    names = " ".join(f"Attribute_{i}" for i in range(40))
    rows = [f"{i:06d}.jpg " + " ".join(["1", "-1"] * 20) for i in (1, 2, 3)]
    (folder / "Anno" / "list_attr_celeba.txt").write_text("\n".join(["3", names, *rows, ""]))
    (folder / "Anno" / "identity_CelebA.txt").write_text("000001.jpg 7\n000002.jpg 5\n000003.jpg 7\n")
    return folder


@pytest.fixture(scope="session")
def built_from_celeba(celeba, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "celeba.h5"
    options = ["--labels", "attributes", "--labels", "identities", "--resolution", 256, *NO_NETWORKS]
    result = build("--celeba-dir", celeba, "--out", out, "--workers", 1, *options)
    return out, result
