"""Rehearse `celebahq reconstruct` on a small data set of its own in the exact layout of the real one.

    python tools/rehearse_reconstruct.py                        # everything, in a temporary folder
    python tools/rehearse_reconstruct.py --images 12 --kills 5 --keep rehearsal

Makes a CelebA tree, `image_list.txt` and encrypted deltas from pictures that come with scikit-image;
reconstructs them at one go and with `kill -9` in between, and compares the bytes; then damages the input in
every way that `reconstruct` must notice, and prints what it says.
"""

import base64
import bz2
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import skimage.data
from cryptography.fernet import Fernet
from numpy.typing import NDArray
from PIL import Image

from celebahq import PyramidReader, legacy_align
from celebahq.legacy.delta import ITERATIONS, delta_name, zip_name
from celebahq.legacy.published import COLUMNS, IMAGE_LIST, PublishedImage, read_image_list
from celebahq.sources.celeba import LANDMARK_COLUMNS, LANDMARKS

FIRST_IDX = 998  # so that the third image's delta is in another zip
FACE = np.array([[197, 115], [251, 108], [229, 139], [207, 163], [255, 157]], np.float64)  # of the astronaut
FORMS = (  # of JPEG: chroma subsampling, and whether progressive
    {"subsampling": "4:2:0"},
    {"subsampling": "4:4:4"},
    {"subsampling": "4:2:0", "progressive": True},
    {"subsampling": "4:2:2"},
)


def make_rehearsal(root: Path, count: int, seed: int = 0) -> None:
    """Write `root/celeba` with `count` photos and `root/deltas` with as many published images."""
    rng = np.random.default_rng(seed)
    photos = root / "celeba" / "img_celeba"
    photos.mkdir(parents=True)
    (root / "celeba" / LANDMARKS).parent.mkdir()
    (root / "deltas").mkdir()

    landmarks = []
    for orig_idx in range(count):
        picture, points = draw_photo(rng)
        landmarks.append(points)
        form = FORMS[orig_idx % len(FORMS)]
        Image.fromarray(picture).save(
            photos / photo_name(orig_idx), quality=int(rng.integers(60, 96)), **form
        )
    write_landmarks(root, landmarks)

    images = []
    for idx, orig_idx in enumerate(rng.permutation(count).tolist(), start=FIRST_IDX):
        photo = photos / photo_name(orig_idx)
        aligned = np.ascontiguousarray(legacy_align(photo, landmarks[orig_idx]).transpose(2, 0, 1))
        final = restore_middle(aligned)
        add_delta(root, idx, encrypt_delta(final - aligned, photo))
        images.append(PublishedImage(idx, orig_idx, photo.name, md5(aligned), md5(final)))
    write_image_list(root, images)


def draw_photo(rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """The astronaut, turned, scaled and cut somewhere, and the five whole-pixel landmarks in the result."""
    width, height = rng.integers(200, 420, 2).tolist()
    scale = rng.choice([1.2, 0.6]) * rng.uniform(1, 1.1)
    turn = cv2.getRotationMatrix2D(FACE.mean(axis=0).tolist(), rng.uniform(-25, 25), scale)
    center = (width, height) * rng.uniform(0.35, 0.65, 2)  # often so near to an edge that it is padded
    turn[:, 2] += center - FACE.mean(axis=0)
    picture = cv2.warpAffine(
        skimage.data.astronaut(), turn, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT
    )
    return picture, np.rint(FACE @ turn[:, :2].T + turn[:, 2])


def restore_middle(aligned: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What stands for the authors' networks: a blur, of the middle only, so that little is to be packed."""
    final = aligned.copy()
    for plane in final:
        plane[384:640, 384:640] = cv2.GaussianBlur(plane[384:640, 384:640], (0, 0), 2)
    return final


def photo_name(orig_idx: int) -> str:
    """CelebA's name of a photo."""
    return f"{orig_idx + 1:06d}.jpg"


def write_landmarks(root: Path, landmarks: list[NDArray[Any]]) -> None:
    """Write the annotation file as CelebA has it."""
    lines = [str(len(landmarks)), " ".join(LANDMARK_COLUMNS)]
    for orig_idx, points in enumerate(landmarks):
        lines.append(f"{photo_name(orig_idx)} " + " ".join(f"{value:4.0f}" for value in points.flat))
    (root / "celeba" / LANDMARKS).write_text("\n".join(lines) + "\n")


def write_image_list(root: Path, images: list[PublishedImage]) -> None:
    """Write the list as it was published."""
    rows = [COLUMNS, *images]
    (root / "deltas" / IMAGE_LIST).write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))


def encrypt_delta(delta: NDArray[np.uint8], photo: Path) -> bytes:
    """What `celebahq.legacy.delta.decrypt_delta` decrypts."""
    secret = hashlib.pbkdf2_hmac("sha256", photo.read_bytes(), photo.name.encode(), ITERATIONS, 32)
    return Fernet(base64.urlsafe_b64encode(secret)).encrypt(bz2.compress(delta.tobytes()))


def add_delta(root: Path, idx: int, token: bytes) -> None:
    """Put a delta into its zip, making the zip if need be."""
    with zipfile.ZipFile(root / "deltas" / zip_name(idx), "a") as archive:
        archive.writestr(delta_name(idx), token)


def replace_delta(root: Path, idx: int, token: bytes) -> None:
    """Write the zip of image `idx` anew with another token for it."""
    path = root / "deltas" / zip_name(idx)
    with zipfile.ZipFile(path) as archive:
        tokens = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**tokens, delta_name(idx): token}.items():
            archive.writestr(name, content)


def read_delta(root: Path, idx: int) -> bytes:
    """The token of image `idx`."""
    with zipfile.ZipFile(root / "deltas" / zip_name(idx)) as archive:
        return archive.read(delta_name(idx))


def md5(image: NDArray[np.uint8]) -> str:
    """MD5 of the CHW bytes."""
    return hashlib.md5(image.tobytes()).hexdigest()


def reconstruct_command(root: Path, out: Path, *options: str) -> list[str]:
    """The command line on a rehearsal's tree."""
    folders = ["--celeba-dir", str(root / "celeba"), "--delta-dir", str(root / "deltas")]
    return [
        sys.executable,
        "-m",
        "celebahq",
        "reconstruct",
        *folders,
        "-o",
        str(out),
        "--skip-self-test",
        *options,
    ]


def wrong_images(root: Path, out: Path) -> list[int]:
    """Which of the reconstructed images differ from the published ones."""
    published = {image.idx: image.final_md5 for image in images_of(root)}
    with PyramidReader(out) as reader:
        indices = reader.meta("idx")
        return [
            int(idx)
            for position, idx in enumerate(indices)
            if md5(reader.read([position], reader.resolution)[0]) != published[int(idx)]
        ]


def images_of(root: Path) -> list[PublishedImage]:
    """The lines of a rehearsal's `image_list.txt`."""
    return read_image_list(root / "deltas" / IMAGE_LIST)


def run_with_kills(command: list[str], kills: int, rng: random.Random, longest_sec: float) -> int:
    """Run `command`, killing it up to `kills` times after a random while; returns how often."""
    for killed in range(kills):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(rng.uniform(0, longest_sec))
                return killed  # it had finished
            except subprocess.TimeoutExpired:
                process.kill()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"status {done.returncode} after {kills} kills: {done.stderr}")
    return kills


def damages() -> dict[str, Callable[[Path, PublishedImage], None]]:
    """Ways to damage what an image is made from, by what they are called."""

    def wrong_delta(root: Path, image: PublishedImage) -> None:
        other = next(other for other in images_of(root) if other != image)
        replace_delta(root, image.idx, read_delta(root, other.idx))

    def other_delta(root: Path, image: PublishedImage) -> None:
        token = encrypt_delta(np.zeros((3, 1024, 1024), np.uint8), photo_of(root, image))
        replace_delta(root, image.idx, token)

    def wrong_jpeg(root: Path, image: PublishedImage) -> None:
        with Image.open(photo_of(root, image)) as picture:
            picture.load()
        picture.save(photo_of(root, image), quality=50)

    def appended_byte(root: Path, image: PublishedImage) -> None:
        with photo_of(root, image).open("ab") as file:
            file.write(b"\n")

    def truncated_jpeg(root: Path, image: PublishedImage) -> None:
        photo = photo_of(root, image)
        photo.write_bytes(photo.read_bytes()[:-2000])

    def missing_photo(root: Path, image: PublishedImage) -> None:
        photo_of(root, image).unlink()

    def missing_zip(root: Path, image: PublishedImage) -> None:
        (root / "deltas" / zip_name(image.idx)).unlink()

    def truncated_zip(root: Path, image: PublishedImage) -> None:
        path = root / "deltas" / zip_name(image.idx)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def swapped_landmark_lines(root: Path, image: PublishedImage) -> None:
        lines, here, there = landmark_lines(root, image)
        lines[here], lines[there] = lines[there], lines[here]
        (root / "celeba" / LANDMARKS).write_text("\n".join(lines) + "\n")

    def swapped_landmarks(root: Path, image: PublishedImage) -> None:
        lines, here, there = landmark_lines(root, image)
        (name, points), (other, other_points) = (lines[i].split(maxsplit=1) for i in (here, there))
        lines[here], lines[there] = f"{name} {other_points}", f"{other} {points}"
        (root / "celeba" / LANDMARKS).write_text("\n".join(lines) + "\n")

    return {name: damage for name, damage in locals().items() if callable(damage)}


def landmark_lines(root: Path, image: PublishedImage) -> tuple[list[str], int, int]:
    """The annotation file's lines, the number of the image's line, and that of a neighbour."""
    lines = (root / "celeba" / LANDMARKS).read_text().splitlines()
    here = image.orig_idx + 2
    return lines, here, here + 1 if here + 1 < len(lines) else here - 1


def copy_tree(root: Path, copy: Path) -> Path:
    """A tree's photos, landmarks, list and deltas once more."""
    for part in ("celeba", "deltas"):
        shutil.copytree(root / part, copy / part)
    return copy


def photo_of(root: Path, image: PublishedImage) -> Path:
    """Where an image's photo is."""
    return root / "celeba" / "img_celeba" / image.orig_file


@click.command()
@click.option("--images", default=6, show_default=True, type=click.IntRange(min=4))
@click.option("--kills", default=4, show_default=True, type=click.IntRange(min=0))
@click.option("--seed", default=0, show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Work there and leave it.")
def main(images: int, kills: int, seed: int, keep: Path | None) -> None:
    """Rehearse the reconstruction of the published data set."""
    with working_folder(keep) as root:
        make_rehearsal(root, images, seed)
        print(f"{images} photos, landmarks, image_list.txt and deltas made")

        straight, killed = root / "straight.h5", root / "killed.h5"
        start = time.perf_counter()
        subprocess.run(reconstruct_command(root, straight), check=True, capture_output=True)
        seconds = time.perf_counter() - start
        print(
            f"reconstructed in {seconds:.1f} s; differing from the published: {wrong_images(root, straight)}"
        )
        count = run_with_kills(reconstruct_command(root, killed), kills, random.Random(seed), 0.7 * seconds)
        same = straight.read_bytes() == killed.read_bytes()
        print(f"{count} times kill -9 and resumed: {'the same' if same else 'OTHER'} bytes")

        for name, damage in damages().items():
            damaged = copy_tree(root, root / name)
            damage(damaged, images_of(root)[0])
            command = reconstruct_command(damaged, damaged / "out.h5")
            result = subprocess.run(command, capture_output=True, text=True)
            said = [line for line in result.stderr.splitlines() if line.startswith(("not written", "Error"))]
            print(f"\n{name}: exit status {result.returncode}", *said, sep="\n  ")


@contextmanager
def working_folder(keep: Path | None) -> Iterator[Path]:
    """`keep`, or a folder that disappears."""
    if keep:
        keep.mkdir(parents=True)
        yield keep
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


if __name__ == "__main__":
    main()
