"""Kill a build again and again, and compare what comes out with an undisturbed one.

    python tools/kill_test.py --kills 100 -- celebahq build --photos DIR --out OUT.h5 --resolution 256

The command runs once undisturbed. Then it is started over and over; after a random time a worker or the
parent gets `kill -9`. After every kill the shard logs are read: every item recorded so far must still be
there, once. Whenever the build completes, its file must equal the undisturbed one byte for byte; then the
next round begins, until the kills are used up.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click

from celebahq.files import sha256_file
from celebahq.jobs.logs import read_entries
from celebahq.jobs.scratch import work_folder


@click.command()
@click.argument("command", nargs=-1, required=True)
@click.option("--kills", default=100, show_default=True)
@click.option("--longest", type=float, metavar="SEC", help="Between two kills  [default: half a build].")
@click.option("--seed", default=0, show_default=True)
def main(command: tuple[str, ...], kills: int, longest: float | None, seed: int) -> None:
    """Run COMMAND, which contains `--out OUT.h5`; the folder of OUT is replaced by temporary ones."""
    rng = random.Random(seed)
    victims: Counter[str] = Counter()
    rounds = 0
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "undisturbed" / "out.h5"
        start = time.monotonic()
        run_to_end(with_out(command, reference))
        elapsed = time.monotonic() - start
        print(f"undisturbed: {elapsed:.1f} s, {reference.stat().st_size:,} bytes", flush=True)
        longest = longest or elapsed / 2
        while victims.total() < kills:
            out = Path(folder) / f"round{rounds}" / "out.h5"
            recorded: dict[str, set[int]] = {}
            while victims.total() < kills and not out.exists():
                victim = disturb(with_out(command, out), rng, longest)
                if victim:
                    victims[victim] += 1
                    recorded = check_logs(out, recorded)
                    total = sum(map(len, recorded.values()))
                    print(f"kill {victims.total()}: the {victim}; {total} records", flush=True)
            if not out.exists() or work_folder(out).exists():
                run_to_end(with_out(command, out))
            rounds += 1
            equal = sha256_file(out) == sha256_file(reference)
            print(f"round {rounds}: {'equal bytes' if equal else 'THE FILE DIFFERS'}", flush=True)
            if not equal:
                sys.exit(1)
    print(f"{victims.total()} kills {dict(victims)}, {rounds} builds: nothing lost or repeated, equal bytes")


def with_out(command: tuple[str, ...], out: Path) -> list[str]:
    """The command with another output."""
    position = command.index("--out") + 1
    return [*command[:position], str(out), *command[position + 1 :]]


def run_to_end(command: list[str]) -> None:
    """Run the command undisturbed; 3 says that photos were skipped."""
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode not in (0, 3):
        sys.exit(f"the command failed ({result.returncode}):\n{result.stderr}")


def disturb(command: list[str], rng: random.Random, longest: float) -> str | None:
    """Start the command and kill it, or one of its workers and later itself; None when it was too quick."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(timeout=rng.uniform(0, longest))
            return None
        except subprocess.TimeoutExpired:
            pass
        workers = children(process.pid)
        if workers and rng.random() < 0.5:
            subprocess.run(["kill", "-9", str(rng.choice(workers))], check=False)
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


def check_logs(out: Path, before: dict[str, set[int]]) -> dict[str, set[int]]:
    """Items by stage in the shard logs; ends the test if one is missing or there twice."""
    time.sleep(0.5)  # workers end when they notice that their parent is gone
    stages: dict[str, set[int]] = {}
    for log in sorted(work_folder(out).glob("**/shard-*.log*")):
        entries = read_entries(log)
        stage = stages.setdefault(str(log.parent), set())
        items = [entry.item for entry in entries]
        if len(set(items)) != len(items) or stage & set(items):
            sys.exit(f"{log}: an item was done twice")
        stage.update(items)
    for name, items in before.items():
        if not items <= stages.get(name, set()) and not out.exists():
            sys.exit(f"{name}: lost {sorted(items - stages.get(name, set()))}")
    return stages


if __name__ == "__main__":
    main()
