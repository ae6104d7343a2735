"""What `celebahq reconstruct` asks of its input before hours of work."""

import logging
from collections.abc import Sequence
from pathlib import Path

from celebahq.errors import ToolError
from celebahq.files import md5_file
from celebahq.legacy.jpeg import decode_jpeg
from celebahq.legacy.published import (
    IMAGE_LIST,
    PublishedImage,
    and_more,
    find_missing_deltas,
    md5_array,
)
from celebahq.sources.celeba import LANDMARKS
from celebahq.sources.records import FaceIndex

log = logging.getLogger(__name__)

FIRST_PHOTO = "000001.jpg"
FIRST_PHOTO_MD5 = "9cad8178d6cb0196b36f7b34bc5eb6d3"  # of its pixels, HWC
LANDMARKS_MD5 = "063ee6ddb681f96bc9ca28c6febb9d1a"
IMAGE_LIST_MD5 = "de6acbbe07e8d150ad79b6ffe7d016b3"

SELF_TEST_SKIPPED = (
    "self-test skipped: whether these are the published image_list.txt, landmarks and photos was not asked; "
    "each image is still checked against image_list.txt"
)


def check_input(
    celeba_dir: Path,
    delta_dir: Path,
    images: Sequence[PublishedImage],
    faces: FaceIndex,
    *,
    published: bool = True,
) -> None:
    """Find out before hours of work what would make images fail; every problem is said.

    Args:
        celeba_dir: CelebA's layout.
        delta_dir: `image_list.txt` and the zips.
        images: Those to reconstruct.
        faces: CelebA's landmarks.
        published: Whether the input must be what was published; else only that it is complete.

    Raises:
        ToolError: There are problems.
    """
    problems = [
        *find_differing_landmarks(images, faces),
        *find_missing_photos(images, faces.folder),
        *find_missing_deltas(delta_dir, images),
    ]
    if published:
        problems += self_test(celeba_dir, delta_dir, faces.folder)
    else:
        log.info(SELF_TEST_SKIPPED)
    for problem in problems[:-1]:
        log.info(problem)
    if problems:
        raise ToolError(problems[-1])
    log.info(f"{len(images):,} images to reconstruct: their photos, landmarks and deltas are there")


def find_differing_landmarks(images: Sequence[PublishedImage], faces: FaceIndex) -> list[str]:
    """Whether the landmark file's lines are those that `image_list.txt` means."""
    for image in images:
        found = faces.names[image.orig_idx] if image.orig_idx < len(faces) else "missing"
        if found != image.orig_file:
            line = image.orig_idx + 3
            return [
                f"{LANDMARKS}: line {line} should be of {image.orig_file}, but is {found}; get the file again"
            ]
    return []


def find_missing_photos(images: Sequence[PublishedImage], folder: Path) -> list[str]:
    """Photos that are not in the folder, as one sentence."""
    missing = [image.orig_file for image in images if not (folder / image.orig_file).is_file()]
    if not missing:
        return []
    found = f"lacks {len(missing):,} of {len(images):,} photos ({and_more(missing)})"
    return [f"{folder}: {found}; unpack CelebA again"]


def self_test(celeba_dir: Path, delta_dir: Path, photo_folder: Path) -> list[str]:
    """Compare with the published files' checksums, and decode one photo; what differs, in sentences."""
    problems = []
    for path, expected in (
        (delta_dir / IMAGE_LIST, IMAGE_LIST_MD5),
        (celeba_dir / LANDMARKS, LANDMARKS_MD5),
    ):
        if (found := md5_file(path)) != expected:
            problems.append(f"{path}: not the published file (MD5 {found}, expected {expected})")
    path = photo_folder / FIRST_PHOTO
    try:
        found = md5_array(decode_jpeg(path))
    except ToolError as err:
        problems.append(str(err))
    else:
        if found != FIRST_PHOTO_MD5:
            problems.append(
                f"{path}: decodes to pixels with MD5 {found}, expected {FIRST_PHOTO_MD5}: not the "
                "in-the-wild photo, or not decoded as IJG libjpeg 8d does"
            )
    return problems
