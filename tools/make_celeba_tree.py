"""Make a small folder in CelebA's layout from photos of your own, to rehearse a build.

    python tools/make_celeba_tree.py faces.csv photos/ celeba/

The CSV has a row per face: `path` below the photos' folder, and `lefteye_x`, `lefteye_y`, `righteye_x`, ...,
`rightmouth_y` in pixels of the file as it is stored. Each row becomes `img_celeba/NNNNNN.jpg` (a JPEG is
copied, anything else saved at quality 95) and a line of `Anno/list_landmarks_celeba.txt`. Attributes
alternate and identities number the photos: they have no meaning.
"""

import csv
import shutil
from pathlib import Path

import click
from PIL import Image

from celebahq.sources.celeba import ATTRIBUTE_COUNT, ATTRIBUTES, IDENTITIES, LANDMARK_COLUMNS, LANDMARKS


@click.command()
@click.argument("table", type=click.Path(exists=True, path_type=Path))
@click.argument("photos", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--limit", type=int, help="Only the first rows.")
def main(table: Path, photos: Path, out: Path, limit: int | None) -> None:
    """Write the folder OUT."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:limit]
    (out / "img_celeba").mkdir(parents=True)
    (out / "Anno").mkdir()
    names = [f"{number:06d}.jpg" for number in range(1, len(rows) + 1)]
    numbers = {path: number for number, path in enumerate(dict.fromkeys(row["path"] for row in rows), 1)}

    landmarks, attributes, identities = [], [], []
    for i, (name, row) in enumerate(zip(names, rows, strict=True)):
        save_as_jpeg(photos / row["path"], out / "img_celeba" / name)
        points = "  ".join(str(round(float(row[column]))) for column in LANDMARK_COLUMNS)
        landmarks.append(f"{name} {points}")
        flags = " ".join(f"{1 if (i >> (j % 4)) % 2 else -1:2d}" for j in range(ATTRIBUTE_COUNT))
        attributes.append(f"{name} {flags}")
        identities.append(f"{name} {numbers[row['path']]}")

    attribute_names = " ".join(f"Attribute_{j}" for j in range(ATTRIBUTE_COUNT))
    write_lines(out / LANDMARKS, [str(len(rows)), " ".join(LANDMARK_COLUMNS), *landmarks])
    write_lines(out / ATTRIBUTES, [str(len(rows)), attribute_names, *attributes])
    write_lines(out / IDENTITIES, identities)
    print(f"{out}: {len(rows)} photos")


def save_as_jpeg(source: Path, target: Path) -> None:
    """Copy a JPEG; decode and save anything else."""
    with Image.open(source) as image:
        if image.format == "JPEG":
            shutil.copyfile(source, target)
        else:
            image.convert("RGB").save(target, quality=95)


def write_lines(path: Path, lines: list[str]) -> None:
    """One line each."""
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
