"""A small job to be killed: `python toy_job.py OUT [options]`, and it notes which items it did.

Its images follow from the item's number alone. Every finished item is appended to the file `--calls`.
"""

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path

import click
import numpy as np

import celebahq.jobs.cluster
from celebahq.commands.options import chosen
from celebahq.console import ToolGroup
from celebahq.errors import ToolError
from celebahq.jobs.cluster import DaskCluster
from celebahq.jobs.engine import InProcess
from celebahq.jobs.job import image_job
from celebahq.jobs.merge import write_pyramid
from celebahq.jobs.options import JobOptions
from celebahq.jobs.pool import ProcessPool
from celebahq.jobs.scratch import scratch_for
from celebahq.jobs.task import Finished, Skipped, Task
from celebahq.pyramid import PyramidWriter, encode_image
from celebahq.terminal import on_terminal

RESOLUTION = 32
JOB_OPTIONS = {field.name for field in dataclasses.fields(JobOptions)}


if os.environ.get("TOY_ON_NFS"):  # in the workers too
    import nfs

    nfs.behave_like_nfs()


class Toy(Task):
    name = "toy"
    pickled = 0  # times, to be sent to workers

    def __init__(
        self,
        total=60,
        *,
        calls=None,
        delay=0.0,
        seed=0,
        deadly=None,
        endless=None,
        stopped=None,
        cannot_start=None,
        needs=None,
    ):
        self.total, self.calls, self.delay, self.seed = total, calls, delay, seed
        self.deadly, self.endless, self.stopped = deadly, endless, stopped
        self.cannot_start, self.needs = cannot_start, needs

    def __getstate__(self):
        Toy.pickled += 1
        return {**self.__dict__, "pickled_at_all": True}

    def __len__(self):
        return self.total

    def fingerprint(self):
        return {"seed": self.seed}

    def start(self):
        self.opened = threading.Lock()  # as files and detectors, nothing that could travel
        if self.cannot_start == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.cannot_start == "says why":
            raise ToolError("toy.safetensors: not found; train one first")

    def item_name(self, index):
        return f"{index:03d}.jpg"

    def process(self, index):
        if self.calls:
            with self.calls.open("a") as file:
                file.write(f"{index}\n")
        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == self.endless:
            while True:
                sum(range(10**9))
        if index == self.stopped:
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(self.delay)
        if self.needs:
            (self.needs / "photo.jpg").read_bytes()
        if index % 10 == 7:
            return Skipped(f"{self.item_name(index)}: truncated")
        rng = np.random.default_rng([self.seed, index])
        image = rng.integers(0, 256, (3, RESOLUTION, RESOLUTION), np.uint8)
        meta = {"source_name": self.item_name(index), "landmarks": rng.random((5, 2))}
        score = float(np.round(rng.random(), 1))  # rounded: equal scores must not upset the order
        return Finished(encode_image(image), meta, label=rng.random(2, np.float32), score=score)


def dies_after(method, images):
    """Kill this process at a call of `method`."""
    count = 0

    def dying(*args, **kwargs):
        nonlocal count
        count += 1
        if count > images:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*args, **kwargs)

    return dying


@click.group(cls=ToolGroup)
def main():
    pass


@main.command()
@click.argument("out", type=Path)
@click.option("--total", default=60)
@click.option("--workers", default=2, help="0: in this process.")
@click.option("--cluster")
@click.option("--keep", type=int)
@click.option("--seed", default=0)
@click.option("--delay", default=0.0)
@click.option("--calls", type=Path)
@click.option("--deadly", type=int, help="An item that kills its worker.")
@click.option("--endless", type=int, help="An item that is never done.")
@click.option("--stopped", type=int, help="An item at which workers stop.")
@click.option("--needs", type=Path, help="A folder with a file that every item needs.")
@click.option("--item-timeout", default=3600.0)
@click.option("--max-skip-rate", type=float)
@click.option("--retry-skipped", is_flag=True)
@click.option("--shard-size", type=float)
@click.option("--patience", default=60.0, help="Seconds without workers on a cluster.")
@click.option("--look-up-first", is_flag=True, help="Look for all logs once, before the work.")
@click.option("--cannot-start")
@click.option("--die-in-merge", type=int, help="After so many images.")
@click.option("--die-in-finish", is_flag=True)
def run(out, total, workers, cluster, keep, die_in_merge, die_in_finish, look_up_first, patience, **given):
    options, given = chosen(JobOptions, given), {n: v for n, v in given.items() if n not in JOB_OPTIONS}
    if die_in_merge is not None:
        PyramidWriter.append_encoded = dies_after(PyramidWriter.append_encoded, die_in_merge)
    celebahq.jobs.cluster.PATIENCE_SEC = patience
    engine = DaskCluster(cluster) if cluster else ProcessPool(workers) if workers else InProcess()
    with on_terminal() as progress, scratch_for(out) as scratch:
        task = Toy(total, **given)
        if look_up_first:
            assert not any((scratch.folder / f"shard-{i:05d}.log").exists() for i in range(total))
        job = image_job(task, scratch, RESOLUTION, keep=keep, options=options)
        job.run(engine, progress)
        click.echo(f"sent {Toy.pickled} times", err=True)
        facts = task.fingerprint()
        write_pyramid(job, out, resolution=RESOLUTION, provenance=facts, engine=engine, progress=progress)
        if die_in_finish:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
