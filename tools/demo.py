"""`make demo`: from two portraits to a data set, a small network and its score, told on one page.

The portraits are in the public domain and come with scikit-image (astronaut Eileen Collins, NASA) and
matplotlib (Grace Hopper, US Navy). `make demo PHOTOS=dir` takes somebody's own photos instead.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import matplotlib
import numpy as np
import skimage
from demo_page import Chapter, Picture, figure, plot_figure, render
from skimage.metrics import peak_signal_noise_ratio

from celebahq import PyramidReader, PyramidWriter
from celebahq.files import sha256_file

FINISHED, SOME_SKIPPED = 0, 3
RESOLUTION = 1024
TOY_IMAGES, TOY_PX = 1024, 64
"""The toy data set: turned, shifted, mirrored and tinted copies of the aligned faces."""
SMALL_PX, QUALITY = 256, 30
"""What the portrait is shrunk to, and the JPEG quality it is saved with, to be restored again."""
TRAINING = {
    "resolution": 16,
    "schedule.initial_resolution": 8,
    "schedule.train_kimg": 3,
    "schedule.trans_kimg": 1,
    "schedule.learning_rate": 0.002,
    "schedule.tick_kimg": 1,
    "snapshot.network_ticks": 2,
    "train.total_kimg": 8,
}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--photos", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Own photos.")
def main(out: Path, photos: Path | None) -> None:
    """Run the three commands on photos and tell on one page, OUT/index.html, what came of it."""
    start = time.monotonic()
    if out.exists() and not (out / "README.txt").exists():
        sys.exit(f"{out}: is there already and no earlier demo; choose another folder with DEMO_OUT=dir")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "README.txt").write_text("Made by `make demo`, which replaces this folder each time.\n")
    if photos is None:
        photos = out / "photos"
        copy_portraits(photos)

    faces, killed = out / "faces.h5", out / "faces-killed.h5"
    chapters = [align(photos, faces), survive(photos, faces, killed), restore(faces, out)]
    toy = out / "toy.h5"
    write_toy(faces, toy)
    chapters += [measure(toy, out), train(toy, out)]
    seconds = time.monotonic() - start
    lead = f"Made on this machine in {seconds:.0f} seconds by the commands below."
    page = out / "index.html"
    page.write_text(render("From a photo to a generator and its score", lead, chapters), encoding="utf-8")
    click.echo(f"\nDone in {seconds:.0f} s. Open {page}")


def align(photos: Path, faces: Path) -> Chapter:
    """Photo -> upright crop."""
    command = run("celebahq", "build", "--photos", photos, "--out", faces, "--resolution", RESOLUTION)
    with PyramidReader(faces) as reader:
        name, quad = str(reader.meta("source_name")[0]), np.asarray(reader.meta("quad")[0])
        (face,) = reader.read([0], RESOLUTION).transpose(0, 2, 3, 1)
        count = len(reader)
    photo = cv2.cvtColor(cv2.imread(str(photos / name)), cv2.COLOR_BGR2RGB)
    marked = cv2.polylines(photo.copy(), [np.round(quad).astype(np.int32)], True, (255, 220, 0), 3)
    return Chapter(
        "A photo becomes an aligned face",
        f"{count} faces were found, turned upright, enlarged where they were small, written at every size "
        f"from {RESOLUTION} to 1 pixel. Where the square leaves the photo, the photo is continued.",
        [command],
        [
            figure(marked, f"{name}, with the square that is cut out", 360, jpeg=True),
            figure(face, f"aligned, {RESOLUTION} pixels", 420, jpeg=True),
        ],
    )


def survive(photos: Path, faces: Path, killed: Path) -> Chapter:
    """The same build, killed in the middle and continued."""
    command = [
        *("celebahq", "build", "--photos", str(photos), "--out", str(killed)),
        *("--resolution", str(RESOLUTION)),
    ]
    click.echo(f"\n$ {' '.join(command)}   # killed once the first face is done")
    process = subprocess.Popen([sys.executable, "-m", *command], start_new_session=True)
    begun = time.monotonic()
    while process.poll() is None and not logged_bytes(killed) and time.monotonic() - begun < 120:
        time.sleep(0.05)
    was_killed = process.poll() is None
    if was_killed:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    run(*command)
    digests = [sha256_file(path) for path in (faces, killed)]
    return Chapter(
        "The same build, killed and continued",
        (
            "It was killed with kill -9 while it worked, and the same command continued it. "
            if was_killed
            else ""
        )
        + ("The two files are equal, byte for byte." if digests[0] == digests[1] else "THE FILES DIFFER."),
        [f"sha256sum {faces.name} {killed.name}", *(f"{d}" for d in digests)],
    )


def logged_bytes(out: Path) -> int:
    """How much of the images' work a running build has on disk."""
    work = out.with_name(out.name + ".work")
    return sum(path.stat().st_size for path in work.rglob("*") if path.is_file() and "index" not in str(path))


def restore(faces: Path, out: Path) -> Chapter:
    """A shrunk, compressed portrait, and what the networks make of it."""
    with PyramidReader(faces) as reader:
        original, small = (reader.read([0], size)[0].transpose(1, 2, 0) for size in (RESOLUTION, SMALL_PX))
    damaged = out / "damaged.jpg"
    cv2.imwrite(str(damaged), cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    command = run("celebahq", "restore", damaged, "--out", out / "restored")
    read = [
        cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        for path in (damaged, out / "restored" / "damaged.png")
    ]
    enlarged = cv2.resize(read[0], (RESOLUTION, RESOLUTION), interpolation=cv2.INTER_CUBIC)
    half = slice(RESOLUTION // 4, 3 * RESOLUTION // 4)

    def shown(picture: Picture, what: str) -> tuple[Picture, str]:
        return picture[half, half], f"{what}, {peak_signal_noise_ratio(original, picture):.2f} dB"

    pictures = [
        shown(enlarged, f"{SMALL_PX} pixels, JPEG of quality {QUALITY}, enlarged by a cubic filter"),
        shown(read[1], "restored by the two networks"),
        (original[half, half], "the original"),
    ]
    return Chapter(
        "A damaged portrait is restored",
        f"The face was shrunk to {SMALL_PX} pixels and saved as a JPEG of quality {QUALITY}. One network "
        "removes what the compression left, the other enlarges 4 times. Shown: the middle, and how near "
        "the whole picture is to the original.",
        [command],
        [figure(picture, caption, 330, jpeg=True) for picture, caption in pictures],
    )


def write_toy(faces: Path, toy: Path) -> None:
    """Fill a pyramid with turned, shifted, scaled, mirrored and tinted copies of the faces."""
    rng = np.random.default_rng(0)
    with PyramidReader(faces) as reader:
        sources = reader.read(np.arange(len(reader)), 4 * TOY_PX).transpose(0, 2, 3, 1)
    with PyramidWriter(toy, TOY_PX) as writer:
        copies = [jittered(sources[i % len(sources)], rng) for i in range(TOY_IMAGES)]
        writer.append(np.stack(copies).transpose(0, 3, 1, 2))


def jittered(face: Picture, rng: np.random.Generator) -> Picture:
    """`(r, r, 3)` to `(TOY_PX, TOY_PX, 3)`: another view of the same face."""
    side = face.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.normal(0, 4), rng.uniform(1.1, 1.3))
    turn[:, 2] += rng.normal(0, 0.02 * side, 2)
    view = cv2.warpAffine(face, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    view = cv2.resize(view, (TOY_PX, TOY_PX), interpolation=cv2.INTER_AREA)
    tint = rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, 3)
    view = np.asarray(np.clip(view * tint, 0, 255).round(), np.uint8)
    return view[:, ::-1] if rng.random() < 0.5 else view


def measure(toy: Path, out: Path) -> Chapter:
    """Which level of the distance moves when pictures are blurred, compressed or tinted."""
    with PyramidReader(toy) as reader:
        images = reader.read(np.arange(len(reader)), TOY_PX).transpose(0, 2, 3, 1)
    reals, others = np.split(images, 2)
    rng = np.random.default_rng(1)
    changes: dict[str, Callable[[Picture], Picture]] = {
        "untouched": lambda image: image,
        "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 0.8),
        "compressed": compressed,
        "tinted": lambda image: np.clip(image * rng.uniform(0.6, 1.4, 3), 0, 255).astype(np.uint8),
    }
    folder = out / "changed"
    folder.mkdir()
    write_pyramid(folder / "reals.h5", reals)
    samples = []
    for name, change in changes.items():
        changed = np.stack([change(image) for image in others])
        write_pyramid(folder / f"{name}.h5", changed)
        samples.append(figure(changed[0], name, 3 * TOY_PX))
    sets = [folder / f"{name}.h5" for name in changes]
    command = run("swd", "track", folder / "reals.h5", *sets, "--json", quiet=folder / "swd.json")
    rows = json.loads((folder / "swd.json").read_text())["sets"]
    return Chapter(
        "The distance says what is wrong",
        f"Half of {TOY_IMAGES:,} turned, shifted and tinted copies of the faces are the reals; the others "
        "are compared with them, untouched and changed in three ways (each tinted picture has a tint "
        "of its own). The sliced Wasserstein distance x 1000, level by level, lower is nearer: blur "
        "and compression move the finest level, wrong colours the coarsest.",
        [command],
        samples,
        swd_table([(name, row["swd"]) for name, row in zip(changes, rows, strict=True)]),
    )


def compressed(image: Picture) -> Picture:
    """Saved as a JPEG of quality 20 and read back."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def write_pyramid(path: Path, images: Picture) -> None:
    """`(N, r, r, 3)` images as a pyramid file."""
    with PyramidWriter(path, images.shape[1]) as writer:
        writer.append(images.transpose(0, 3, 1, 2))


def swd_table(rows: list[tuple[str, dict[str, object]]]) -> list[list[str]]:
    """Figures of `swd --json` as rows of text."""
    levels = list(rows[0][1]["levels"])  # type: ignore[call-overload]
    table = [["", *(f"{level} px" for level in levels), "average"]]
    for name, found in rows:
        estimates = [*found["levels"].values(), found["average"]]  # type: ignore[attr-defined]
        table.append([name, *(with_error(estimate) for estimate in estimates)])
    return table


def with_error(estimate: dict[str, float | None]) -> str:
    """Value ± standard error."""
    error = "" if estimate["se"] is None else f" ± {estimate['se']:.1f}"
    return f"{estimate['value']:.1f}{error}"


def train(toy: Path, out: Path) -> Chapter:
    """A small generator over its training, with its distance."""
    runs = out / "runs"
    settings = [part for name, value in TRAINING.items() for part in ("--set", f"{name}={value}")]
    command = run("trainer", "run", "--data", toy, "--preset", "smoke", "--outdir", runs, *settings)
    (trained,) = runs.iterdir()
    plot = out / "training.png"
    evaluation = run("trainer", "evaluate", trained, "--metrics", "swd", "--plot", plot)
    grids = sorted(trained.glob("fakes*.png"))
    shown = grids[:: max(1, len(grids) // 5)]
    figures = []
    for path in shown:
        grid = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        side = TRAINING["resolution"] * 4
        kimg = int(path.stem.removeprefix("fakes"))
        figures.append(figure(grid[: int(side), : int(side)], f"{kimg:,} kimg", 190))
    report = json.loads((trained / "evaluation.json").read_text())
    rows = [(row["fake"], row["swd"]) for row in report["sets"]]
    rows.append(("reals against themselves, disjoint halves", report["reference"]["disjoint"]))
    return Chapter(
        "A generator learns these faces",
        "A toy: networks that fit a CPU, images of 16 pixels, under a minute. Its sliced Wasserstein "
        "distance to the real images falls; at the reals' own row it could not be told from them.",
        [command, evaluation],
        [*figures, plot_figure(plot, "the distance over the training", 420)],
        swd_table(rows),
    )


def copy_portraits(folder: Path) -> None:
    """Two portraits from installed libraries."""
    folder.mkdir()
    astronaut = Path(skimage.__file__).parent / "data" / "astronaut.png"
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    for portrait in (astronaut, hopper):
        shutil.copy(portrait, folder)


def run(command: str, *arguments: object, quiet: Path | None = None) -> str:
    """Show a command, run it, and give it as text; what it prints goes to the file `quiet` if given."""
    words = [str(argument) for argument in arguments]
    text = f"{command} {' '.join(words)}"
    click.echo(f"\n$ {text}")
    result = subprocess.run(
        [sys.executable, "-m", command, *words], stdout=subprocess.PIPE if quiet else None
    )
    if result.returncode not in (FINISHED, SOME_SKIPPED):
        sys.exit(f"{command} {words[0]} ended with status {result.returncode}")
    if quiet:
        quiet.write_bytes(result.stdout)
    return text


if __name__ == "__main__":
    main()
