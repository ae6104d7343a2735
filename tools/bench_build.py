"""What a build costs per image on one core: without networks, with them, and to find the faces.

The photo is scikit-image's astronaut as a JPEG, in sizes that make its crop 200, 300, 600 and 1024 px wide.
Every image goes through what `celebahq build` does with a face, from the photo's file to the encoded image.
The baseline of the ratios is the same image without networks. The shortest of several times counts.

Example:
    python tools/bench_build.py --repeats 3
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
import torch

from celebahq.align.crop import plan_crop
from celebahq.align.faces import FaceFinder
from celebahq.build import FaceTask, describe
from celebahq.jobs.engine import InProcess
from celebahq.options import BuildOptions, PhotoSource
from celebahq.pictures.decoding import load_photo
from celebahq.sources.records import FaceIndex

LANDMARKS = np.array([[212.0, 106], [250, 106], [230, 130], [215, 146], [248, 146]])  # of the 512 px photo
CROPS_PX = (200, 300, 600, 1024)


def shortest_sec(work: Callable[[], object], repeats: int) -> float:
    """Shortest time of several."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def save_photo(folder: Path, crop_px: int) -> FaceIndex:
    """The photo with a crop of this width, and its face."""
    photo = skimage.data.astronaut()
    height, width = photo.shape[:2]
    scale = crop_px / plan_crop(height, width, LANDMARKS).side
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    name = f"{crop_px}.jpg"
    cv2.imwrite(str(folder / name), photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return FaceIndex(folder, (name,), LANDMARKS[None] * scale, orient=True)


def task(faces: FaceIndex, model_options: dict[str, Any]) -> FaceTask:
    """The work of a build on these faces, its networks loaded."""
    options = BuildOptions(PhotoSource(faces.folder), faces.folder / "none.h5", **model_options)
    made = FaceTask(faces, options, describe(options, InProcess()))
    made.start()
    return made


def measure(crop_px: int, finder: FaceFinder, repeats: int) -> dict[str, Any]:
    """Times of the image whose crop is so wide."""
    with tempfile.TemporaryDirectory() as folder:
        faces = save_photo(Path(folder), crop_px)
        bare = task(faces, {"jpeg_model": "none", "sr_model": "none"})
        full = task(faces, {})
        photo = load_photo(faces[0].path)
        return {
            "crop_px": crop_px,
            "photo_px": photo.shape[:2],
            "without_networks_sec": shortest_sec(lambda: bare.process(0), repeats),
            "with_networks_sec": shortest_sec(lambda: full.process(0), repeats),
            "finding_faces_sec": shortest_sec(lambda: finder.find(photo), repeats),
        }


def main() -> None:
    """Measure and print one line per crop width; `--json` prints the numbers instead."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    finder = FaceFinder()
    rows = []
    if not arguments.json:
        print(f"{platform.machine()}, torch {torch.__version__}, OpenCV {cv2.__version__}; one core, 1024 px")
    for crop_px in CROPS_PX:
        row = measure(crop_px, finder, arguments.repeats)
        rows.append(row)
        if not arguments.json:
            bare_sec, full_sec = row["without_networks_sec"], row["with_networks_sec"]
            height, width = row["photo_px"]
            print(
                f"crop of {crop_px:4} px: {bare_sec:.2f} s without networks, {full_sec:.2f} s with them "
                f"({full_sec / bare_sec:.1f} times); finding faces in {width}x{height}: "
                f"{row['finding_faces_sec']:.2f} s",
                flush=True,
            )
    if arguments.json:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
