"""`make demo`: from two portraits to a data set, a small network and its score, with pictures to open.

The portraits are in the public domain and come with scikit-image (astronaut Eileen Collins, NASA) and
matplotlib (Grace Hopper, US Navy). `make demo PHOTOS=dir` takes somebody's own photos instead.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import matplotlib
import skimage

FINISHED, SOME_SKIPPED = 0, 3
HALVED = {"schedule.train_kimg": 0.5, "schedule.trans_kimg": 0.5, "train.total_kimg": 3}
"""The smoke preset, each phase half as long: it ends where 32x32 has faded in."""


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--photos", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Own photos.")
def main(out: Path, photos: Path | None) -> None:
    """Run the three commands on photos and name the pictures that they leave in OUT."""
    start = time.monotonic()
    if out.exists() and not (out / "README.txt").exists():
        sys.exit(f"{out}: is there already and no earlier demo; choose another folder with DEMO_OUT=dir")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "README.txt").write_text("Made by `make demo`, which replaces this folder each time.\n")
    if photos is None:
        photos = out / "photos"
        copy_portraits(photos)

    faces, runs, fakes = out / "faces.h5", out / "runs", out / "generated"
    run("celebahq", "build", "--photos", photos, "--out", faces, "--resolution", 1024)
    run("celebahq", "extract", faces, "--out", out / "aligned", "--indices", "0")
    run("celebahq", "sheet", faces, "--out", out / "sheet.png", "--resolution", 256)
    halved = [part for name, kimg in HALVED.items() for part in ("--set", f"{name}={kimg}")]
    run("trainer", "run", "--data", faces, "--preset", "smoke", "--outdir", runs, "--device", "cpu", *halved)
    trained = next(runs.iterdir())
    run("trainer", "grid", trained, "--out", out / "generated.png")
    run("trainer", "generate", trained, "--num", 64, "--out", fakes)
    run("swd", "compare", faces, fakes, "--resolution", 32, "--plot", out / "swd.png")

    click.echo(f"\nDone in {time.monotonic() - start:.0f} s. Open:")
    for path, what in (
        (out / "build-report.html", "what the build did: counts, scores, contact sheets"),
        (out / "sheet.png", "the aligned faces"),
        (next((out / "aligned").iterdir()), "one of them at 1024x1024"),
        (out / "generated.png", "what a toy network made after half a minute's training"),
        (out / "swd.png", "how far that is from the faces, level by level (sliced Wasserstein distance)"),
    ):
        click.echo(f"  {path}  {what}")


def copy_portraits(folder: Path) -> None:
    """Two portraits from installed libraries."""
    folder.mkdir()
    astronaut = Path(skimage.__file__).parent / "data" / "astronaut.png"
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    for portrait in (astronaut, hopper):
        shutil.copy(portrait, folder)


def run(command: str, *arguments: object) -> None:
    """Show a command and run it."""
    words = [str(argument) for argument in arguments]
    click.echo(f"\n$ {command} {' '.join(words)}")
    status = subprocess.run([sys.executable, "-m", command, *words]).returncode
    if status not in (FINISHED, SOME_SKIPPED):
        sys.exit(f"{command} {words[0]} ended with status {status}")


if __name__ == "__main__":
    main()
