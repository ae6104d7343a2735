"""A small job to be killed: `python toy_job.py OUT [options]`, and it notes which items it did.

Its images follow from the item's number alone. Every finished item is appended to the file `--calls`.
"""

import os
import signal
import time
from pathlib import Path

import click
import numpy as np

from celebahq.commands.terminal import on_terminal
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

RESOLUTION = 32


class Toy(Task):
    name = "toy"

    def __init__(self, total=60, *, calls=None, delay=0.0, seed=0, deadly=None, cannot_start=None):
        self.total, self.calls, self.delay, self.seed = total, calls, delay, seed
        self.deadly, self.cannot_start = deadly, cannot_start

    def __len__(self):
        return self.total

    def fingerprint(self):
        return {"seed": self.seed}

    def start(self):
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
        time.sleep(self.delay)
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
@click.option("--deadly", type=int)
@click.option("--cannot-start")
@click.option("--die-in-merge", type=int, help="After so many images.")
@click.option("--die-in-finish", is_flag=True)
def run(out, total, workers, cluster, keep, die_in_merge, die_in_finish, **task_options):
    if die_in_merge is not None:
        PyramidWriter.append_encoded = dies_after(PyramidWriter.append_encoded, die_in_merge)
    engine = DaskCluster(cluster) if cluster else ProcessPool(workers) if workers else InProcess()
    with on_terminal() as progress, scratch_for(out) as scratch:
        task = Toy(total, **task_options)
        job = image_job(task, scratch, RESOLUTION, keep=keep, options=JobOptions())
        job.run(engine, progress)
        write_pyramid(job, out, resolution=RESOLUTION, provenance=task.fingerprint(), progress=progress)
        if die_in_finish:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
