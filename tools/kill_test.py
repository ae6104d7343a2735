"""Kill commands again and again, and compare what comes out with an undisturbed run.

    python tools/kill_test.py --kills 100 -- celebahq build --photos DIR --out OUT.h5 --resolution 256
    python tools/kill_test.py --kills 10 --every

The command runs once undisturbed. Then it is started over and over; after a random time a worker or the
parent gets `kill -9`. After every kill, the output may be there only if it is complete, and the shard logs of
a job are read: every item recorded so far must still be there, once. Whenever the command completes, its
output must equal the undisturbed one byte for byte, with nothing beside it that the undisturbed run did not
leave; then the next round begins, until the kills are used up. `--every` does so with every command that
writes, on small inputs made here, and prints a row for each.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import skimage.data
from PIL import Image
from rehearse_reconstruct import make_rehearsal

from celebahq.files import sha256_file
from celebahq.jobs.logs import read_entries
from celebahq.jobs.scratch import work_folder
from celebahq.pyramid import PyramidWriter

TINY_RUN = {
    **{"generator.latent_size": 8, "generator.fmap_base": 64, "generator.fmap_max": 8},
    **{"discriminator.fmap_base": 64, "discriminator.fmap_max": 8, "resolution": 16},
    **{"schedule.train_kimg": 0.064, "schedule.trans_kimg": 0.064, "schedule.tick_kimg": 0.048},
    **{"train.total_kimg": 0.3, "snapshot.image_ticks": 100, "snapshot.network_ticks": 100},
}

TREES = {"celeba": "celeba", "delta": "deltas"}
EXPORTS = {
    **{"folder": "", "zip": ".zip", "tfrecord": ""},
    **{"webdataset": "", "mds": "", "folder-by-class": "", "imagefolder": ""},
}
PROGRAMS = (".safetensors", ".pt2", ".onnx")
TIMES = ("stats.jsonl", "history.jsonl", "index.html", "lock", "events.*")
"""What of a run tells times, or stays for the next one."""


@dataclass(frozen=True)
class Case:
    """A command that writes `{out}`."""

    words: Sequence[str]
    ending: str
    """Of the output's name."""
    volatile: tuple[str, ...] = ()
    """Names beside or in the output that differ between equal runs."""
    goes_on_with: Sequence[str] = ()
    """The command for a run that was begun, where it is another one."""
    partly: bool = False
    """The output is a folder to which files are added, each complete or not there."""
    grows: bool = False
    """The output is a folder whose files change until the end."""
    into_existing: bool = False
    """The folder is there before."""

    @property
    def name(self) -> str:
        """As people call it."""
        return " ".join(word for word in self.words[:4] if not word.startswith(("-", "/", "{")))

    def command(self, out: Path) -> list[str]:
        """What to run now."""
        if self.into_existing:
            out.mkdir(parents=True, exist_ok=True)
        begun = out.is_dir() and any(path.suffix != ".partial" for path in out.iterdir())
        words = self.goes_on_with if self.goes_on_with and begun else self.words
        return [sys.executable, "-m", *(word.format(out=out) for word in words)]


@dataclass
class Outcome:
    """What became of a case."""

    victims: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    faults: list[str] = field(default_factory=list)


@click.command()
@click.argument("command", nargs=-1)
@click.option("--every", is_flag=True, help="Every command that writes, instead of COMMAND.")
@click.option("--only", help="With --every: the commands whose name has this in it.")
@click.option("--kills", default=100, show_default=True, help="For each command.")
@click.option("--longest", type=float, metavar="SEC", help="Between two kills  [default: a run's time].")
@click.option("--seed", default=0, show_default=True)
def main(
    command: tuple[str, ...], every: bool, only: str | None, kills: int, longest: float | None, seed: int
) -> None:
    """Run COMMAND, which contains `--out OUT`; the folder of OUT is replaced by temporary ones."""
    if every == bool(command):
        raise click.UsageError("give a command, or --every")
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        cases = every_case(Path(folder) / "inputs") if every else [given_case(command)]
        print(f"{'command':32} {'kills':>5} {'rounds':>6}  faults", flush=True)
        failed = False
        for number, case in enumerate(cases):
            if only and only not in case.name:
                continue
            outcome = torment(case, Path(folder) / f"case{number}", kills, longest, rng)
            faults = "; ".join(sorted(set(outcome.faults))) or "none"
            print(f"{case.name:32} {outcome.victims.total():5} {outcome.rounds:6}  {faults}", flush=True)
            failed |= bool(outcome.faults)
    sys.exit(failed)


def given_case(command: tuple[str, ...]) -> Case:
    """The command of a person."""
    position = command.index("--out") + 1
    words = [*command[:position], "{out}", *command[position + 1 :]]
    return Case(words, Path(command[position]).suffix, ("build-report.json", "build-report.html"))


def torment(case: Case, folder: Path, kills: int, longest: float | None, rng: random.Random) -> Outcome:
    """Kill a command so often; whenever it is done, compare and begin anew."""
    reference = folder / "undisturbed" / f"out{case.ending}"
    start = time.monotonic()
    if fault := run_to_end(case, reference):
        return Outcome(faults=[fault])
    longest = longest or time.monotonic() - start
    expected, outcome = contents(reference.parent, case), Outcome()
    while outcome.victims.total() < kills:
        out = folder / f"round{outcome.rounds}" / f"out{case.ending}"
        recorded: dict[str, set[int]] = {}
        done = False
        while outcome.victims.total() < kills and not done:
            victim = disturb(case.command(out), rng, longest)
            done = victim is None
            if victim:
                outcome.victims[victim] += 1
                recorded = check_logs(out, recorded, outcome.faults)
                outcome.faults += early_appearances(out, reference, expected, case)
                done = out.exists() and not out.is_dir() and not work_folder(out).exists()
        if not done and (fault := run_to_end(case, out)):
            outcome.faults.append(f"does not go on: {fault}")
        outcome.rounds += 1
        outcome.faults += differences(contents(out.parent, case), expected)
    return outcome


def contents(folder: Path, case: Case) -> dict[str, str]:
    """Digests of all files below a folder but those that are never the same."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in files
        if not any(path.match(pattern) for pattern in case.volatile)
    }


def early_appearances(out: Path, reference: Path, expected: dict[str, str], case: Case) -> list[str]:
    """What is there under its final name, and is not what it will be."""
    if not out.exists() or case.grows:
        return []
    found = contents(out.parent, case) if out.parent.exists() else {}
    mine = {name: digest for name, digest in found.items() if Path(name).parts[0] == out.name}
    wrong = [name for name, digest in mine.items() if expected.get(name) != digest and "partial" not in name]
    missing = [name for name in expected if Path(name).parts[0] == out.name and name not in found]
    return [f"half-written {name}" for name in wrong] + (
        [f"{reference.name} appeared with {len(missing)} files missing"]
        if missing and not case.partly
        else []
    )


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """What is not as in the undisturbed run."""
    return [
        *(f"{name} is missing" for name in expected.keys() - found.keys()),
        *(f"{name} is left over" for name in found.keys() - expected.keys()),
        *(f"{name} differs" for name in found.keys() & expected.keys() if found[name] != expected[name]),
    ]


def run_to_end(case: Case, out: Path) -> str | None:
    """Run the command undisturbed; gives why it failed, if it did. 3 says that photos were skipped."""
    out.parent.mkdir(parents=True, exist_ok=True)
    command = case.command(out)
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode in (0, 3):
        return None
    last = result.stderr.rstrip().rpartition("\n")[2]
    return last.replace(str(out.parent) + "/", "") or f"status {result.returncode}"


def disturb(command: list[str], rng: random.Random, longest: float) -> str | None:
    """Start the command and kill it, or one of its workers and later itself; None when it was too quick."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:  # type: ignore[call-overload]
        try:
            process.wait(timeout=rng.uniform(0, longest))
            return None
        except subprocess.TimeoutExpired:
            pass
        workers = children(process.pid)
        if workers and rng.random() < 0.5:
            os.kill(rng.choice(workers), signal.SIGKILL)
            try:
                process.wait(timeout=rng.uniform(0, longest))
            except subprocess.TimeoutExpired:
                process.kill()
            return "worker"
        process.kill()
        return "parent"


def children(pid: int) -> list[int]:
    """Worker processes that `pid` started."""
    listed = subprocess.run(["ps", "-Awwo", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [int(child) for child, parent, args in rows if int(parent) == pid and "spawn_main" in args]


def check_logs(out: Path, before: dict[str, set[int]], faults: list[str]) -> dict[str, set[int]]:
    """Items by stage in the shard logs; a fault if one is missing or there twice."""
    time.sleep(0.5)  # workers end when they notice that their parent is gone
    stages: dict[str, set[int]] = {}
    for log in sorted(work_folder(out).glob("**/shard-*.log*")):
        items = [entry.item for entry in read_entries(log)]
        stage = stages.setdefault(str(log.parent), set())
        if len(set(items)) != len(items) or stage & set(items):
            faults.append(f"{log.name}: an item was done twice")
        stage.update(items)
    for name, done in before.items():
        if not done <= stages.get(name, set()) and not out.exists():
            faults.append(f"{Path(name).name}: lost items")
    return stages


def every_case(inputs: Path) -> list[Case]:
    """Every command that writes, on inputs that are made here."""
    photos, pictures, data, run = (inputs / name for name in ("photos", "pictures", "data.h5", "run"))
    make_inputs(photos, pictures, data)
    tiny = [word for name, value in TINY_RUN.items() for word in ("--set", f"{name}={value}")]
    train = ["trainer", "run", "--data", str(data), "--preset", "faces-64", *tiny, "--device", "cpu"]
    subprocess.run([sys.executable, "-m", *train, "--outdir", str(run)], check=True, capture_output=True)
    return [*job_cases(inputs, photos, pictures), *file_cases(data, pictures), *run_cases(train, run)]


def job_cases(inputs: Path, photos: Path, pictures: Path) -> list[Case]:
    """Long jobs."""
    make_rehearsal(inputs / "celeba", 3)
    reports = ("build-report.json", "build-report.html")
    bare = ["--jpeg-model", "none", "--sr-model", "none", "--workers", "2"]
    build = ["celebahq", "build", "--photos", str(photos), "--resolution", "256", *bare]
    trees = [f"--{kind}-dir={inputs / 'celeba' / name}" for kind, name in TREES.items()]
    return [
        Case([*build, "--out", "{out}"], ".h5", reports),
        Case([*build, "--keep", "2", "--out", "{out}"], ".h5", reports),
        Case(
            ["celebahq", "import", "folder", str(pictures), "--workers", "2", "--out", "{out}"],
            ".h5",
            reports,
        ),
        Case(
            ["celebahq", "reconstruct", *trees, "--skip-self-test", "--workers", "2", "--out", "{out}"],
            ".h5",
        ),
    ]


def file_cases(data: Path, pictures: Path) -> list[Case]:
    """What is made of finished files."""
    celebahq = ["celebahq"]
    exports = [
        Case([*celebahq, "export", "--to", form, str(data), "--out", "{out}"], ending)
        for form, ending in EXPORTS.items()
    ]
    return [
        Case(
            [*celebahq, "restore", *map(str, sorted(pictures.iterdir())), "--out", "{out}"], "", partly=True
        ),
        Case([*celebahq, "extract", str(data), "--out", "{out}"], ""),
        Case([*celebahq, "extract", str(data), "--out", "{out}"], "", partly=True, into_existing=True),
        Case([*celebahq, "sheet", str(data), "--out", "{out}"], ".png"),
        Case([*celebahq, "select", str(data), "--indices", "5,9-50", "--out", "{out}"], ".h5"),
        *exports,
        Case(["swd", "cache", str(data), "--out", "{out}"], ".swd.safetensors"),
    ]


def run_cases(train: list[str], run: Path) -> list[Case]:
    """A training, and what is made of one."""
    name = "00000-faces-64"
    snapshot = str(run / name)
    resume = ["trainer", "resume", f"{{out}}/{name}"]
    return [
        Case([*train, "--resume", "--outdir", "{out}"], "", TIMES, grows=True),
        Case([*train, "--outdir", "{out}"], "", TIMES, goes_on_with=resume, grows=True),
        Case(["trainer", "generate", snapshot, "--num", "40", "--out", "{out}"], ".h5"),
        Case(["trainer", "grid", snapshot, "--out", "{out}"], ".png"),
        Case(["trainer", "video", snapshot, "--duration", "2", "--out", "{out}"], ".mp4"),
        *(Case(["trainer", "export", snapshot, "--out", "{out}"], ending) for ending in PROGRAMS),
    ]


def make_inputs(photos: Path, pictures: Path, data: Path) -> None:
    """Photos of a face, small pictures, and a data set of noise."""
    photos.mkdir(parents=True)
    pictures.mkdir()
    face = Image.fromarray(skimage.data.astronaut())
    for number in range(4):
        face.crop((8 * number, 4 * number, 512, 512)).save(photos / f"{number}.jpg", quality=80 + 4 * number)
        face.crop((220, 60, 284, 124)).rotate(90 * number).save(pictures / f"{number}.png")
    rng = np.random.default_rng(0)
    with PyramidWriter(data, 16) as pyramid:
        pyramid.append(rng.integers(0, 256, (60, 3, 16, 16), np.uint8))


if __name__ == "__main__":
    main()
