"""Does the pipeline of `celebahq build --device cuda` keep either side busy?

    python tools/feeding_simulation.py

Workers take turns at the processors and at the GPUs, as those of a build do: decode, find, align, score and
encode on a processor, the networks one photo after the other in the GPU's process, each worker with one photo
at a time. The stages' costs are those measured at 1024x1024 on a core of an Intel Xeon, and 1.19 TFLOP a
photo on a GPU; every photo's differ from them by a factor that is drawn, log-normal. Nothing is timed: the
clock is simulated, and the same seed gives the same table.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field

import click
import numpy as np

BEFORE_SEC, AFTER_SEC = 0.008 + 0.088, 0.080 + 0.021 + 0.039  # of a core: decode, find; align, score, encode
ANNOTATED_BEFORE_SEC = 0.008
NETWORKS_TFLOP = 1.19
SPREAD = 0.5  # of the logarithm of a photo's cost: crops are of all sizes


@dataclass
class Station:
    """Servers that work on one thing each, and a queue before them."""

    servers: int
    busy_sec: float = 0.0
    working: int = 0
    queue: deque[tuple[int, float]] = field(default_factory=deque)


def simulate(
    workers: int, cores: int, gpus: int, tflops: float, *, annotated: bool, photos: int = 4000, seed: int = 0
) -> tuple[float, float, float]:
    """Let workers do photos.

    Args:
        workers: Processes, dealt to the GPUs in turn.
        cores: Processors.
        gpus: Each with a process that does one photo at a time.
        tflops: What the networks reach on one, in TFLOP/s.
        annotated: Whether landmarks are known, so that faces need not be found.
        photos: How many.
        seed: Of the photos' costs.

    Returns:
        Photos a second, and the shares of time that processors and GPUs were busy.
    """
    before = ANNOTATED_BEFORE_SEC if annotated else BEFORE_SEC
    factors = np.random.default_rng(seed).lognormal(-(SPREAD**2) / 2, SPREAD, (photos, 3))
    costs = factors * (before, NETWORKS_TFLOP / tflops, AFTER_SEC)
    stations = [Station(cores), *(Station(1) for _ in range(gpus))]
    events: list[tuple[float, int, int, int]] = []  # end, worker, photo, step
    now, started, done = 0.0, 0, 0
    at: dict[int, tuple[int, int]] = {}  # worker -> photo, step

    def place(worker: int, step: int) -> int:
        return 1 + worker % gpus if step == 1 else 0

    def enter(worker: int, photo: int, step: int) -> None:
        at[worker] = photo, step
        stations[place(worker, step)].queue.append((worker, float(costs[photo, step])))

    def serve(station: Station) -> None:
        while station.queue and station.working < station.servers:
            worker, cost = station.queue.popleft()
            station.working += 1
            station.busy_sec += cost
            heapq.heappush(events, (now + cost, worker, *at[worker]))

    for worker in range(min(workers, photos)):
        enter(worker, worker, 0)
        started += 1
    serve(stations[0])
    while events:
        now, worker, photo, step = heapq.heappop(events)
        left = stations[place(worker, step)]
        left.working -= 1
        if step < 2:
            enter(worker, photo, step + 1)
        else:
            done += 1
            if started < photos:
                enter(worker, started, 0)
                started += 1
        for station in stations:
            serve(station)
    assert done == photos
    gpu_sec = sum(station.busy_sec for station in stations[1:])
    return photos / now, stations[0].busy_sec / (now * cores), gpu_sec / (now * gpus)


@click.command()
@click.option("--cores", default=16, show_default=True)
@click.option("--tflops", default=80.0, show_default=True, help="Of one GPU, as the networks reach them.")
def main(cores: int, tflops: float) -> None:
    """Print photos a second and how busy both sides are, for several numbers of workers and GPUs."""
    print(f"{cores} cores; GPUs of {tflops:g} TFLOP/s; SD of the logarithm of a photo's cost {SPREAD}\n")
    print("landmarks  GPUs  workers  photos/s  processors   GPUs")
    for annotated in (False, True):
        for gpus in (1, 2):
            for workers in (cores, 2 * cores, 3 * cores):
                rate, processors, gpu = simulate(workers, cores, gpus, tflops, annotated=annotated)
                print(
                    f"{'annotated' if annotated else 'found':9s}  {gpus:4d}  {workers:7d}  {rate:8.1f}"
                    f"  {processors:10.0%}  {gpu:5.0%}"
                )


if __name__ == "__main__":
    main()
