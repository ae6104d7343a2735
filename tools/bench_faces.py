"""How well faces are found and crops placed, where the truth is known: `python tools/bench_faces.py ALIGNED`.

ALIGNED is a folder of aligned faces (CelebA-HQ, FFHQ: the whole picture is the crop). From them it makes
photos whose crop is known: laid into a larger canvas at every roll, cut tightly, with a mask drawn over mouth
and nose.
`--empty DIR` are photos without a face (what is found there is false), `--photos DIR` any photos (counted).
It prints a table for each detector, and for dlib's HOG with the landmarks of a single look (`plain`).

CPU seconds are those of this process, one thread.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from celebahq.align.detectors import Hog
from celebahq.align.faces import Face, FaceFinder
from celebahq.align.geometry import quad_roll, quad_side
from celebahq.align.landmarks import Predictor, five_landmarks
from celebahq.errors import ToolError
from celebahq.pictures.decoding import load_photo
from celebahq.sources.listing import find_photos

CANVAS, FACE_SIDE = 1400, 512
NEAR = 0.3  # Of the side: a crop whose centre is farther off is of something else.
WRONG = 0.1  # Of the side, mean over the corners: such a crop is wrong.


class Case(NamedTuple):
    """A photo whose only face has a known crop."""

    photo: NDArray[np.uint8]
    quad: NDArray[Any]


def turned(face: NDArray[np.uint8], degrees: float, rng: np.random.Generator) -> Case:
    """An aligned face laid into a canvas, turned clockwise."""
    side = len(face)
    centre = CANVAS / 2 + rng.uniform(-60, 60, 2)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * side / 2
    matrix = np.column_stack([turn, centre - 0.5 + turn @ np.full(2, 0.5 - side / 2)])
    photo = cv2.warpAffine(
        face, matrix, (CANVAS, CANVAS), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return Case(photo, corners @ turn.T + centre)


def tight(face: NDArray[np.uint8], share: float) -> Case:
    """The middle of an aligned face, without `share` of the side at each edge."""
    cut = round(len(face) * share)
    inner = np.ascontiguousarray(face[cut:-cut, cut:-cut])
    return Case(inner, np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * float(len(face)) - cut)


def masked(face: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A cloth drawn from cheek to cheek over nose and mouth."""
    outline = [(0.27, 0.56), (0.5, 0.53), (0.73, 0.56), (0.7, 0.75), (0.58, 0.88), (0.42, 0.88), (0.3, 0.75)]
    result = face.copy()
    cv2.fillPoly(result, [np.rint(np.array(outline) * len(face)).astype(np.int32)], colour, cv2.LINE_AA)
    for height in (0.62, 0.69, 0.76):
        left, right = ((round(x * len(face)), round(height * len(face))) for x in (0.31, 0.69))
        cv2.line(result, left, right, tuple(value - 25 for value in colour), 2, cv2.LINE_AA)
    return result


def cases(faces: list[NDArray[np.uint8]], step: int) -> Iterator[tuple[str, list[Case]]]:
    """Each kind of photo and its cases."""
    rng = np.random.default_rng(0)
    for degrees in range(0, 181, step):
        yield f"turned by {degrees}", [turned(face, degrees, rng) for face in faces]
    for share in (0.12, 0.2, 0.27):
        yield f"cut by {share:.0%} a side", [tight(face, share) for face in faces]
    colours = [(150, 190, 215), (235, 235, 235), (45, 45, 50)]
    clothed = [masked(face, colours[i % 3]) for i, face in enumerate(faces)]
    yield "with a mask", [turned(face, rng.uniform(-10, 10), rng) for face in clothed]


@dataclass
class Tally:
    """What became of some cases."""

    corners: list[float] = field(default_factory=list)
    """Mean distance, in sides."""
    rolls: list[float] = field(default_factory=list)
    """Degrees."""
    false: int = 0
    """Kept faces that are none."""
    total: int = 0
    seconds: float = 0.0
    pixels: int = 0

    def add(self, case: Case, faces: list[Face]) -> None:
        """Count one case."""
        side = quad_side(case.quad)
        off = [np.hypot(*(face.quad.mean(axis=0) - case.quad.mean(axis=0))) / side for face in faces]
        self.total += 1
        self.false += sum(distance > NEAR for distance in off)
        if off and min(off) <= NEAR:
            quad = faces[int(np.argmin(off))].quad
            self.corners.append(float(np.hypot(*(quad - case.quad).T).mean() / side))
            self.rolls.append(abs((quad_roll(quad) - quad_roll(case.quad) + 180) % 360 - 180))

    def row(self, kind: str) -> str:
        """A line of the table."""
        wrong = sum(corner > WRONG for corner in self.corners)
        right = [corner for corner in self.corners if corner <= WRONG] or [np.nan]
        return (
            f"| {kind} | {len(self.corners) - wrong} of {self.total} | {wrong} | {self.false} "
            f"| {100 * np.median(right):.1f} | {100 * np.quantile(right, 0.9):.1f} "
            f"| {max(self.rolls, default=np.nan):.1f} | {self.seconds / (self.pixels / 1e6):.3f} |"
        )


Find = Callable[[NDArray[Any]], list[Face]]


def plain() -> Find:
    """dlib's HOG detector and landmarks at one look."""
    hog, predictor = Hog(), Predictor()
    return lambda photo: [
        Face(five_landmarks(predictor.in_box(photo, found.box)), found.score) for found in hog.detect(photo)
    ]


def measure(find: Find, kinds: list[tuple[str, list[Case]]]) -> None:
    """Print the table of one way to find faces."""
    print("| photos | right | wrong | false | corners %, median | 90 % | worst roll | CPU s per megapixel |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind, some in kinds:
        tally = Tally()
        for case in some:
            start = time.process_time()
            faces = find(case.photo)
            tally.seconds += time.process_time() - start
            tally.pixels += case.photo.shape[0] * case.photo.shape[1]
            tally.add(case, faces)
        print(tally.row(kind), flush=True)


def count(find: Find, what: str, folder: Path) -> None:
    """Print how many faces a folder's photos give."""
    found, wide, seconds, pixels = [], 0, 0.0, 0
    for name in find_photos(folder):
        try:
            photo = load_photo(folder / name)
        except ToolError as err:
            print(f"{name}: {err}")
            continue
        start = time.process_time()
        faces = find(photo)
        seconds += time.process_time() - start
        pixels += photo.shape[0] * photo.shape[1]
        found.append(len(faces))
        wide += sum(face.eye_distance >= 32 for face in faces)
    print(
        f"{what}: {sum(map(bool, found))} of {len(found)} photos have a face, {sum(found)} faces, "
        f"{wide} with eyes 32 px apart or more; {seconds / max(pixels / 1e6, 1e-9):.3f} CPU s per megapixel"
    )


@click.command()
@click.argument("aligned", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--empty", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--photos", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--num", default=24, show_default=True, help="Faces.")
@click.option("--step", default=15, show_default=True, metavar="DEGREES")
@click.option("--ways", default="plain,hog,yunet", show_default=True, help="plain, hog, cnn, yunet.")
def main(aligned: Path, empty: Path | None, photos: Path | None, num: int, step: int, ways: str) -> None:
    """Measure how faces are found."""
    cv2.setNumThreads(1)
    names = find_photos(aligned)
    names = [names[i * len(names) // num] for i in range(min(num, len(names)))]
    side = (FACE_SIDE, FACE_SIDE)
    faces = [cv2.resize(load_photo(aligned / name), side, interpolation=cv2.INTER_AREA) for name in names]
    kinds = list(cases(faces, step))
    for way in ways.split(","):
        print(f"\n{way}\n")
        find = plain() if way == "plain" else FaceFinder(detector=way).find
        measure(find, kinds)
        for what, folder in (("without a face", empty), ("any photos", photos)):
            if folder:
                count(find, what, folder)


if __name__ == "__main__":
    main()
