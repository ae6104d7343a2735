"""What millions of images cost besides their pixels: `python tools/bench_scale.py 100000 300000 1000000`.

A job of tiny images of one colour, with scores, of which 70 % are kept, is done by one worker and written as
some hundred files; another process opens the result and reads images at random, each of which must be the
right one. Times are of processors (of the command and of its worker together), but that of opening, which is
of the clock: the first time, with the start of the helper process, and again. Memory is the greatest that a
process had (`VmHWM`), of the command itself and of the reader. Files are made below `--folder`, and removed.

A third process looks for repeats among as many photos and as many faces, of which one in fifty is the near
copy of another: of hashes that are drawn, of which real ones share more bits with each other, so that 1.4
times as many photos and 2.5 times as many faces are compared with each (see `near_hashes.py`).
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from celebahq.jobs.job import image_job
from celebahq.jobs.merge import write_pyramid
from celebahq.jobs.options import JobOptions
from celebahq.jobs.pool import ProcessPool
from celebahq.jobs.scratch import scratch_for
from celebahq.jobs.task import Finished, Task
from celebahq.pyramid import PyramidReader, encode_image
from celebahq.report import BuildReport, Ranking
from celebahq.report_page import write_report
from celebahq.sources.duplicates import FACE_BITS, NEAR_BITS, earlier_twin

RESOLUTION, COLOURS, READS, KEPT_SHARE, FILES = 32, 251, 20_000, 0.7, 100
BYTES_PER_IMAGE = 1100  # in the logs: the small levels are stored as they are
COPIES = 50  # one of so many


class Tiny(Task):
    """Images of one colour, which follows from their number; scores in no order."""

    name = "tiny"

    def __init__(self, total: int) -> None:
        self.total = total

    def __len__(self) -> int:
        return self.total

    def fingerprint(self) -> dict[str, Any]:
        """Nothing but the number."""
        return {"total": self.total}

    def start(self) -> None:
        """Encode every colour once: their cost is not what is measured."""
        shape = (3, RESOLUTION, RESOLUTION)
        self.encoded = [encode_image(np.full(shape, colour, np.uint8)) for colour in range(COLOURS)]

    def item_name(self, index: int) -> str:
        """As long as CelebA's with a folder."""
        return f"img_celeba/{index:07d}.jpg"

    def process(self, index: int) -> Finished:
        """One image."""
        meta = {"source_name": self.item_name(index), "orig_idx": index}
        return Finished(self.encoded[index % COLOURS], meta, score=(index * 2654435761 % 2**32) / 2**32)


def peak_mb() -> float:
    """The greatest memory that this process had."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def cpu_sec() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def build(out: Path, total: int) -> dict[str, Any]:
    """Make the data set and its report."""
    keep = int(total * KEPT_SHARE)
    options = JobOptions(shard_size=max(keep * BYTES_PER_IMAGE / FILES, 1) / 1e9)
    engine, task, start = ProcessPool(1), Tiny(total), cpu_sec()
    with scratch_for(out) as scratch:
        job = image_job(task, scratch, RESOLUTION, keep=keep, options=options)
        job.run(engine)
        made = cpu_sec()
        done = write_pyramid(job, out, resolution=RESOLUTION, engine=engine)
        written = cpu_sec()
        names = [task.item_name(item) for item in range(total)]
        ranking = Ranking(names, done.scores, done.ranking, len(done.kept))
        write_report(BuildReport(out, {}, {"images": total}, [], ranking, [], 1.0, 1.0), {})
    return {
        "made_sec": made - start,
        "written_sec": written - made,
        "report_sec": cpu_sec() - written,
        "command_mb": peak_mb(),
    }


def read(out: Path, total: int) -> dict[str, Any]:
    """Open the data set and read at random."""
    before, start = peak_mb(), time.monotonic()
    reader = PyramidReader(out, threads=1)
    opened = time.monotonic()
    PyramidReader(out)
    again, cpu = time.monotonic(), cpu_sec()
    assert len(reader) == int(total * KEPT_SHARE)
    indices = np.random.default_rng(0).integers(0, len(reader), READS)
    shown = [reader.read(indices[i : i + 64])[:, 0, 0, 0] for i in range(0, READS, 64)]
    read_sec, reading_mb = cpu_sec() - cpu, peak_mb()
    expected = reader.meta("orig_idx")[indices] % COLOURS
    assert np.array_equal(np.concatenate(shown), expected), "an image is not the right one"
    return {
        "files": len(reader.files),
        "open_sec": opened - start,
        "again_sec": again - opened,
        "read_ms": read_sec / READS * 1000,
        "bare_mb": before,
        "reader_mb": reading_mb,
    }


def repeats(_: Path, total: int) -> dict[str, Any]:
    """Look for repeated photos and faces."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, total, 32), np.uint8)
    copied, copies = rng.integers(0, total, (2, total // COPIES))
    flips = np.packbits(rng.random((len(copies), 256)) < NEAR_BITS / 2 / 256, axis=1)
    first[copies] = first[copied] ^ flips
    facts = {}
    for name, looks, radius in (("photos", [first], NEAR_BITS), ("faces", [first, second], FACE_BITS)):
        hashes = [row.tobytes().hex() for row in np.hstack(looks)]
        start = cpu_sec()
        found = sum(twin is not None for twin in earlier_twin(hashes, radius))
        assert abs(found / len(copies) - 1) < 0.1, "a copy is copied again, or becomes what it is a copy of"
        facts[f"{name}_sec"] = cpu_sec() - start
    return {**facts, "repeats_mb": peak_mb()}


STAGES = {"build": build, "read": read, "repeats": repeats}


@click.command()
@click.argument("totals", type=click.IntRange(min=1000), nargs=-1, required=True, metavar="IMAGES...")
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="For the files  [a new one]."
)
@click.option("--stage", type=click.Choice(STAGES), hidden=True)
def main(totals: tuple[int, ...], folder: Path | None, stage: str | None) -> None:
    """Print a row of figures for each number of images."""
    if stage is not None:
        assert folder is not None
        click.echo(json.dumps(STAGES[stage](folder, totals[0])))
        return
    print(
        f"{'images':>10s} {'made':>8s} {'written':>8s} {'report':>7s} {'command':>8s} {'files':>5s} "
        f"{'open':>7s} {'again':>7s} {'read':>8s} {'reader':>22s} "
        f"{'photos':>7s} {'faces':>7s} {'repeats':>8s}"
    )
    for total in totals:
        place = Path(tempfile.mkdtemp(dir=folder))
        try:
            facts: dict[str, Any] = {}
            for name in STAGES:
                command = [sys.executable, __file__, str(total), "--folder", str(place / "many")]
                run = subprocess.run([*command, "--stage", name], stdout=subprocess.PIPE, check=True)
                facts |= json.loads(run.stdout)
        finally:
            shutil.rmtree(place)
        print(
            f"{total:10,d} {facts['made_sec']:6.0f} s {facts['written_sec']:6.0f} s "
            f"{facts['report_sec']:5.1f} s {facts['command_mb']:5.0f} MB {facts['files']:5d} "
            f"{facts['open_sec'] * 1000:4.0f} ms {facts['again_sec'] * 1000:4.0f} ms "
            f"{facts['read_ms']:5.2f} ms {facts['reader_mb']:5.0f} MB ({facts['bare_mb']:3.0f} before) "
            f"{facts['photos_sec']:5.0f} s {facts['faces_sec']:5.0f} s {facts['repeats_mb']:5.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
