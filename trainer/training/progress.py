"""What a run says about itself: a line and a JSON record per tick, and what TensorBoard shows."""

import json
import logging
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celebahq.console import format_duration
from celebahq.files import append_jsonl, read_jsonl, write_text
from trainer.configuration.schedule import TrainingSchedule
from trainer.storage.run_status import METRICS, STATS

log = logging.getLogger(__name__)

CONSTANT_PART = {4: 0.7, 8: 0.25}  # of a step's time, by resolution, as measured on a CPU


class Averages:
    """Means of per-step values over one tick, added up on the device so that no step waits for them."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}

    def add(self, values: dict[str, Tensor]) -> None:
        """Count one step's values, 0-d tensors."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
            self._weights[name] = self._weights.get(name, 0.0) + 1

    def take(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: float(total) / self._weights[name] for name, total in self._sums.items()}
        self._sums, self._weights = {}, {}
        return means


class Report:
    """Writes the tick line, `stats.jsonl` and TensorBoard's event file of one run; silent on other ranks."""

    def __init__(self, run: Path, *, nimg: int, is_main: bool, tensorboard: bool = True) -> None:
        """Args: `nimg` is where the run starts or continues; later records of a killed run are dropped."""
        self.path, self.metrics_path, self.is_main = run / STATS, run / METRICS, is_main
        self._writer: Any = None
        if not is_main:
            return
        for path in (self.path, self.metrics_path):
            if path.exists():
                drop_records_after(path, nimg)
        if tensorboard:
            self._writer = _event_writer(run, nimg)

    def tick(self, record: dict[str, Any]) -> None:
        """Say and keep one tick's figures."""
        if not self.is_main:
            return
        log.info(tick_line(record))
        append_jsonl(self.path, record)
        self._draw(record)

    def metrics(self, record: dict[str, Any]) -> None:
        """Say and keep one snapshot's figures, in `metrics.jsonl`."""
        log.info("  ".join(f"{name} {value:g}" for name, value in record.items() if name != "nimg"))
        append_jsonl(self.metrics_path, record)
        self._draw(record)

    def picture(self, name: str, picture: NDArray[np.uint8], nimg: int) -> None:
        """Give TensorBoard a picture, `[H, W, C]`."""
        if self._writer is not None:
            self._writer.add_image(name, picture, global_step=nimg // 1000, dataformats="HWC")
            self._writer.flush()

    def configuration(self, config: dict[str, Any], nimg: int) -> None:
        """Give TensorBoard the configuration that is followed from here on."""
        if self._writer is not None:
            lines = json.dumps(config, indent=2).splitlines()
            text = "\n".join(f"    {line}" for line in lines)  # as Markdown has what is to stay as it is
            self._writer.add_text("configuration", text, global_step=nimg // 1000)
            self._writer.flush()

    def earlier_ticks(self) -> list[dict[str, Any]]:
        """The records of the run's ticks so far."""
        return read_jsonl(self.path, each_has="nimg") if self.path.exists() else []

    def is_measured(self, nimg: int) -> bool:
        """Whether there are figures of the snapshot at this point."""
        path = self.metrics_path
        return path.exists() and any(record["nimg"] == nimg for record in read_jsonl(path, each_has="nimg"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def _draw(self, record: dict[str, Any]) -> None:
        if self._writer is not None:
            for name, value in record.items():
                self._writer.add_scalar(name, value, global_step=int(record["kimg"]))
            self._writer.flush()


def _event_writer(run: Path, nimg: int) -> Any:
    """TensorBoard's writer; None, and a word about it, where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info(
            f"no file for TensorBoard, only {STATS}: the package 'tensorboard' is not installed; "
            "pip install 'celebahq-toolkit[tensorboard]'"
        )
        return None
    return SummaryWriter(str(run), purge_step=nimg // 1000)


def drop_records_after(path: Path, nimg: int) -> None:
    """Forget what a killed run wrote after the state that it continues from."""
    kept = [record for record in read_jsonl(path, each_has="nimg") if record["nimg"] <= nimg]
    write_text(path, "".join(json.dumps(record) + "\n" for record in kept))


def tick_line(record: dict[str, Any]) -> str:
    """One tick as one line."""
    losses = " ".join(f"{name} {record[name]:.3f}" for name in ("loss_D", "loss_G") if name in record)
    skipped = f"  {record['skipped_steps']} steps skipped" if record["skipped_steps"] else ""
    return (
        f"tick {record['tick']:<5d} kimg {record['kimg']:<9.1f} lod {record['lod']:<5.2f} "
        f"{record['resolution']}x{record['resolution']}  minibatch {record['minibatch']:<4d} "
        f"{record['images_per_sec']:.3g} images/s  {record['sec_per_kimg']:.2f} s/kimg  "
        f"{record['memory_gb']:.2f} GB  {losses}{skipped}  left {format_duration(record['left_sec'])}"
    )


def peak_memory_gb(device: torch.device) -> float:
    """The most memory used: on the GPU since the last tick, on the CPU by this process so far."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return float(peak) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class TimeLeft:
    """Estimates the rest of a schedule from what each resolution was seen to cost.

    For resolutions not reached yet a step is taken to cost a constant and a multiple of its arithmetic: the
    line through the two largest resolutions measured. As long as only one is known, part of its cost counts
    as constant: at 4x4 most of it, later nothing.
    """

    def __init__(
        self,
        schedule: TrainingSchedule,
        flops: Mapping[int, float],
        total_kimg: float,
        earlier: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """Begin with what is known.

        Args:
            schedule: Of the run.
            flops: Arithmetic per image, by resolution.
            total_kimg: Where the run ends.
            earlier: Records of the run's earlier ticks.
        """
        self.schedule, self.flops, self.total_kimg = schedule, flops, total_kimg
        self.sec_per_kimg: dict[int, float] = {}
        for record in earlier:
            self.update(record["resolution"], record["sec_per_kimg"])

    def update(self, resolution: int, sec_per_kimg: float) -> None:
        """Note what a tick at this resolution took."""
        self.sec_per_kimg[resolution] = sec_per_kimg

    def seconds(self, kimg: float, points: int = 500) -> float:
        """Seconds from `kimg` to the end."""
        if kimg >= self.total_kimg:
            return 0.0
        step = (self.total_kimg - kimg) / points
        constant, rate = self._line()
        total = 0.0
        for point in range(points):
            phase = self.schedule.at(kimg + (point + 0.5) * step)
            known = self.sec_per_kimg.get(phase.resolution)
            if known is None:
                known = 1000 * (constant / phase.minibatch + rate * self.flops[phase.resolution])
            total += known * step
        return total

    def _line(self) -> tuple[float, float]:
        """Seconds of every step, and seconds per operation."""
        measured = sorted(resolution for resolution in self.sec_per_kimg if resolution in self.flops)[-2:]
        steps = [self._step(resolution) for resolution in measured]
        (work, seconds), (least_work, least_seconds) = steps[-1], steps[0]
        if len(steps) == 1:
            constant = CONSTANT_PART.get(measured[0], 0.0) * seconds
        else:
            slope = (seconds - least_seconds) / (work - least_work) if work > least_work else 0.0
            constant = min(max(seconds - slope * work, 0.0), seconds)
        return constant, (seconds - constant) / work

    def _step(self, resolution: int) -> tuple[float, float]:
        """Arithmetic and seconds of one step."""
        config = self.schedule.config
        minibatch = config.minibatch_by_resolution.get(resolution, config.minibatch)
        return self.flops[resolution] * minibatch, self.sec_per_kimg[resolution] * minibatch / 1000


class Clock:
    """Seconds of training, maintenance between ticks left out."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def restart(self) -> None:
        """Start counting from now."""
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Since the last restart."""
        return time.monotonic() - self._start
