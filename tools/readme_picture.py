"""The picture at the top of the README, made of what `make demo` leaves behind.

    make demo
    python tools/readme_picture.py --demo demo --out docs/images/strip.jpg

From left to right: a photo with the square that is cut out; the aligned face; its middle shrunk to a quarter
and compressed; the same restored; and what the demo's toy generator makes of a minute's training. The
portrait is in the public domain (astronaut Eileen Collins, NASA; the file comes with scikit-image).
"""

from pathlib import Path

import click
import cv2
import numpy as np
from demo_page import Picture

from celebahq import PyramidReader

SIDE_PX = 360
GAP_PX = 10


def read(path: Path) -> Picture:
    """A picture file as RGB."""
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def square(picture: Picture, method: int = cv2.INTER_AREA) -> Picture:
    """Brought to the strip's height."""
    return np.asarray(cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=method), dtype=np.uint8)


def middle(picture: Picture) -> Picture:
    """The part around eyes and nose."""
    inner = slice(3 * len(picture) // 10, 7 * len(picture) // 10)
    return picture[inner, inner]


def strip(demo: Path) -> Picture:
    """The five pictures beside each other."""
    with PyramidReader(demo / "faces.h5") as faces:
        name, quad = str(faces.meta("source_name")[0]), np.asarray(faces.meta("quad")[0])
        face = faces.read([0], 1024)[0].transpose(1, 2, 0)
    photo = cv2.polylines(
        read(demo / "photos" / name), [np.round(quad).astype(np.int32)], True, (255, 220, 0), 4
    )
    grid = read(sorted(next((demo / "runs").iterdir()).glob("fakes*.png"))[-1])
    parts = [
        square(photo[:, : photo.shape[0]]),
        square(face),
        square(middle(read(demo / "damaged.jpg")), cv2.INTER_CUBIC),
        square(middle(read(demo / "restored" / "damaged.png"))),
        square(grid[:64, :64], cv2.INTER_NEAREST),
    ]
    gap = np.full((SIDE_PX, GAP_PX, 3), 255, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=1)


@click.command(help=__doc__)
@click.option("--demo", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("demo"))
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/images/strip.jpg"))
def main(demo: Path, out: Path) -> None:
    """Write the strip."""
    out.parent.mkdir(parents=True, exist_ok=True)
    picture = cv2.cvtColor(strip(demo), cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(out), picture, [cv2.IMWRITE_JPEG_QUALITY, 88]):
        raise click.ClickException(f"{out}: cannot be written")


if __name__ == "__main__":
    main()
